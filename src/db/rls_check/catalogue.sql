-- Every row is a finding: code, level, object, message. $1: names of the application roles. The search_path is empty, so
-- names and expressions outside pg_catalog are printed with their schema.
WITH app_role AS MATERIALIZED (
    SELECT r.* FROM pg_roles r WHERE r.rolname = ANY ($1)
), ns AS MATERIALIZED (
    SELECT n.* FROM pg_namespace n
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), rel AS MATERIALIZED (
    SELECT c.*, ns.nspname, ns.nspname || '.' || c.relname AS name, a.attnum AS tenant_attnum,
           a.attnotnull AS tenant_not_null, a.atttypid = 'uuid'::regtype AS tenant_is_uuid
      FROM pg_class c
      JOIN ns ON ns.oid = c.relnamespace
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), tab AS MATERIALIZED (
    SELECT * FROM rel WHERE relkind IN ('r', 'p')
), reader AS MATERIALIZED (
    SELECT rel.oid, string_agg(app_role.rolname, ', ' ORDER BY app_role.rolname) AS names
      FROM rel CROSS JOIN app_role
     WHERE has_any_column_privilege(app_role.oid, rel.oid, 'SELECT, INSERT, UPDATE')
        OR has_table_privilege(app_role.oid, rel.oid, 'DELETE')
     GROUP BY rel.oid
), policy AS MATERIALIZED (
    SELECT p.*, -- The alias that the printer invents for the sub-select is of no matter.
           regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+|AS\s+"\?*\w+\?*"', '', 'g') AS using_text,
           regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '\s+|AS\s+"\?*\w+\?*"', '', 'g') AS check_text
      FROM pg_policy p
), idx AS MATERIALIZED (
    SELECT x.*, tab.name || '.' || c.relname AS name, tab.tenant_attnum, tab.relrowsecurity, am.amname,
           -- Columns behind INCLUDE are no part of the key. The vector counts from 0, a slice of it from 1.
           (x.indkey::int2[])[0:x.indnkeyatts - 1] AS key
      FROM pg_index x
      JOIN tab ON tab.oid = x.indrelid
      JOIN pg_class c ON c.oid = x.indexrelid
      JOIN pg_am am ON am.oid = c.relam
), fn AS MATERIALIZED (
    SELECT p.*, p.oid::regprocedure::text AS name,
           (SELECT string_agg(app_role.rolname, ', ' ORDER BY app_role.rolname) FROM app_role
             WHERE has_function_privilege(app_role.oid, p.oid, 'EXECUTE')) AS callers
      FROM pg_proc p JOIN ns ON ns.oid = p.pronamespace
     WHERE p.prosecdef
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
)
SELECT 'R00_role_missing' AS code, 'ERROR' AS level, wanted AS object, 'there is no such role, so nothing about it was checked' AS message
  FROM unnest($1) AS wanted WHERE NOT EXISTS (SELECT FROM app_role WHERE rolname = wanted)
UNION ALL
SELECT 'R01_no_tenant_id', 'ERROR', name, 'has no column tenant_id of type uuid'
  FROM tab WHERE tenant_is_uuid IS NOT TRUE
UNION ALL
SELECT 'R02_tenant_id_nullable', 'ERROR', name, 'tenant_id may be null'
  FROM tab WHERE NOT tenant_not_null
UNION ALL
SELECT 'R03_rls_off', 'ERROR', name, 'row-level security is not enabled'
  FROM tab WHERE tenant_attnum IS NOT NULL AND NOT relrowsecurity AND NOT relispartition
UNION ALL
SELECT 'R04_no_force', 'ERROR', name, 'row-level security is not forced, so it does not bind the owner'
  FROM tab WHERE tenant_attnum IS NOT NULL AND NOT relforcerowsecurity AND NOT relispartition
UNION ALL
SELECT 'R05_partition_open', 'ERROR', name, 'partition without row-level security of its own, open to ' || reader.names
  FROM tab JOIN reader USING (oid) WHERE relispartition AND NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT 'R06_no_policy', 'ERROR', name, 'row-level security is enabled but there is no policy'
  FROM tab WHERE relrowsecurity AND NOT EXISTS (SELECT FROM policy WHERE polrelid = tab.oid)
UNION ALL
SELECT 'R07_no_guard', 'ERROR', name,
       'needs one RESTRICTIVE policy FOR ALL TO PUBLIC with the canonical predicate in USING and WITH CHECK: call platform.protect_table'
  FROM tab
 WHERE tenant_attnum IS NOT NULL AND relrowsecurity
   AND NOT EXISTS (
       SELECT FROM policy
        WHERE polrelid = tab.oid AND NOT polpermissive AND polcmd = '*' AND polroles = '{0}'::oid[]
          AND using_text = check_text
          AND using_text = '(tenant_id=(SELECT(NULLIF(current_setting(''app.current_tenant_id''::text,true),''''::text))::uuid))')
UNION ALL
SELECT 'R08_nothing_permitted', 'WARN', name, 'has restrictive policies only: nobody sees a row'
  FROM tab
 WHERE EXISTS (SELECT FROM policy WHERE polrelid = tab.oid)
   AND NOT EXISTS (SELECT FROM policy WHERE polrelid = tab.oid AND polpermissive)
UNION ALL
SELECT 'R09_unique_without_tenant', 'ERROR', name,
       'unique or exclusion index without tenant_id tells whether another tenant has a value: ' || pg_get_indexdef(indexrelid)
  FROM idx WHERE tenant_attnum IS NOT NULL AND (indisunique OR indisexclusion) AND NOT tenant_attnum = ANY (key)
UNION ALL
SELECT 'R10_no_leading_index', 'WARN', name, 'has no index that leads with tenant_id'
  FROM tab
 WHERE tenant_attnum IS NOT NULL
   AND NOT EXISTS (SELECT FROM idx WHERE indrelid = tab.oid AND idx.key[1] = tab.tenant_attnum AND indpred IS NULL AND indisvalid)
UNION ALL
SELECT 'R11_fk_without_tenant', 'ERROR', t.name || '.' || c.conname,
       'foreign key between tenant tables without tenant_id on both sides reaches other tenants'' rows: ' || pg_get_constraintdef(c.oid)
  FROM pg_constraint c JOIN tab t ON t.oid = c.conrelid JOIN tab target ON target.oid = c.confrelid
 WHERE c.contype = 'f' AND c.conparentid = 0 AND t.tenant_attnum IS NOT NULL AND target.tenant_attnum IS NOT NULL
   AND NOT EXISTS (SELECT FROM generate_subscripts(c.conkey, 1) i
                    WHERE c.conkey[i] = t.tenant_attnum AND c.confkey[i] = target.tenant_attnum)
UNION ALL
SELECT 'R12_view_as_owner', 'ERROR', name, 'view without security_invoker reads as its owner ' || pg_get_userbyid(relowner)
  FROM rel
 WHERE relkind = 'v'
   AND NOT EXISTS (SELECT FROM pg_options_to_table(rel.reloptions) o
                    WHERE o.option_name = 'security_invoker' AND o.option_value IN ('true', 'on', 'yes', '1'))
UNION ALL
SELECT 'R13_no_rls_possible', 'ERROR', name,
       CASE relkind WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END || ' knows no policies but is open to ' || reader.names
  FROM rel JOIN reader USING (oid) WHERE relkind IN ('m', 'f')
UNION ALL
SELECT 'R14_security_definer', 'ERROR', name,
       'runs as its owner ' || pg_get_userbyid(proowner) || ' and may be called by ' || callers
  FROM fn WHERE callers IS NOT NULL
UNION ALL
SELECT 'R15_role_attributes', 'ERROR', rolname,
       'has' || CASE WHEN rolsuper THEN ' SUPERUSER' ELSE '' END || CASE WHEN rolbypassrls THEN ' BYPASSRLS' ELSE '' END
             || CASE WHEN rolcreaterole THEN ' CREATEROLE' ELSE '' END || CASE WHEN rolcreatedb THEN ' CREATEDB' ELSE '' END
             || CASE WHEN rolreplication THEN ' REPLICATION' ELSE '' END
  FROM app_role WHERE rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
UNION ALL
-- Even a harmless membership is a way for later grants to reach an application role unseen.
SELECT 'R16_role_member', 'ERROR', app_role.rolname, 'is a member of ' || other.rolname || ' and may take on its rights'
  FROM app_role JOIN pg_roles other ON other.oid <> app_role.oid AND pg_has_role(app_role.oid, other.oid, 'MEMBER')
 WHERE NOT app_role.rolsuper
UNION ALL
SELECT 'R17_owner', 'ERROR', owned.name, 'belongs to ' || app_role.rolname || ', which may switch its protection off'
  FROM app_role
  JOIN (SELECT name, relowner AS owner FROM rel
        UNION ALL SELECT nspname::text, nspowner FROM ns
        UNION ALL SELECT name, proowner FROM fn
        UNION ALL SELECT datname::text, datdba FROM pg_database WHERE datname = current_database()) owned ON owned.owner = app_role.oid
UNION ALL
SELECT 'R18_rights_round_policies', 'ERROR', tab.name, app_role.rolname || ' holds TRUNCATE, REFERENCES or TRIGGER'
  FROM tab CROSS JOIN app_role
 WHERE has_table_privilege(app_role.oid, tab.oid, 'TRUNCATE') OR has_table_privilege(app_role.oid, tab.oid, 'TRIGGER')
    OR has_any_column_privilege(app_role.oid, tab.oid, 'REFERENCES')
UNION ALL
SELECT 'R19_set_config', 'WARN', app_role.rolname, 'may call set_config(), with which an SQL injection becomes another tenant'
  FROM app_role WHERE has_function_privilege(app_role.oid, 'pg_catalog.set_config(text,text,boolean)', 'EXECUTE')
UNION ALL
SELECT 'R20_create', 'ERROR', ns.nspname, app_role.rolname || ' may create objects in the schema'
  FROM ns CROSS JOIN app_role WHERE has_schema_privilege(app_role.oid, ns.oid, 'CREATE')
UNION ALL
SELECT 'R21_leaky_index', 'WARN', name, 'cannot be used under row-level security, its operators are not LEAKPROOF: ' || pg_get_indexdef(indexrelid)
  FROM idx
 WHERE relrowsecurity
   AND (indexprs IS NOT NULL OR amname NOT IN ('btree', 'hash', 'brin')
        OR EXISTS (
            SELECT FROM unnest(indclass::oid[]) AS class_oid
              JOIN pg_opclass class ON class.oid = class_oid
              JOIN pg_amop member ON member.amopfamily = class.opcfamily AND member.amoplefttype = class.opcintype
                                 AND member.amoprighttype = class.opcintype
                                 AND member.amopstrategy = CASE amname WHEN 'hash' THEN 1 ELSE 3 END
              JOIN pg_operator equal ON equal.oid = member.amopopr
              JOIN pg_proc p ON p.oid = equal.oprcode
             WHERE NOT p.proleakproof))
UNION ALL
SELECT 'R22_public_rights', 'ERROR', name, 'every role may ' || string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type)
  FROM rel CROSS JOIN LATERAL aclexplode(rel.relacl) a WHERE a.grantee = 0 GROUP BY name
UNION ALL
SELECT 'R23_tenant_not_leading', 'WARN', name, 'unique index holds tenant_id but does not lead with it: ' || pg_get_indexdef(indexrelid)
  FROM idx WHERE tenant_attnum IS NOT NULL AND indisunique AND tenant_attnum = ANY (key) AND key[1] <> tenant_attnum
UNION ALL
SELECT 'R24_unpinned_function', 'ERROR', name, 'SECURITY DEFINER without SET search_path runs whatever its caller puts in the way'
  FROM fn WHERE NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search\_path=%')
UNION ALL
SELECT 'R25_database_rights', CASE kind WHEN 'CREATE' THEN 'ERROR' ELSE 'WARN' END, current_database()::text,
       app_role.rolname || ' has ' || kind || ' on the database'
  FROM app_role CROSS JOIN unnest(ARRAY['CREATE', 'TEMPORARY']) AS kind
 WHERE has_database_privilege(app_role.oid, current_database(), kind)
UNION ALL
SELECT 'R26_rewrite_rule', 'ERROR', tab.name || '.' || r.rulename, 'a rule reads and writes as the owner of the table'
  FROM pg_rewrite r JOIN tab ON tab.oid = r.ev_class
UNION ALL
SELECT 'R27_policy_function', 'WARN', tab.name || '.' || p.polname, 'policy calls ' || f.oid::regprocedure::text || ' for each row'
  FROM policy p JOIN tab ON tab.oid = p.polrelid
  JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
  JOIN pg_proc f ON f.oid = d.refobjid
 ORDER BY 1, 3, 4
