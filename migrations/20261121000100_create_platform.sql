-- The platform's own schemas, and the one way to put a table under tenant protection.
-- The roles exist before any migration runs; everything here belongs to app_owner.

CREATE SCHEMA platform;
CREATE SCHEMA auth;

-- USAGE lets a role name what is inside; each table and function still needs a grant of its own. The schema platform is
-- open to the roles of services, too, because they call platform.protect_table on tables of their own.
GRANT USAGE ON SCHEMA platform TO PUBLIC;
GRANT USAGE ON SCHEMA auth TO app_rw, app_auth, app_secrets, app_ops;

CREATE FUNCTION platform.protect_table(target regclass) RETURNS void
LANGUAGE plpgsql SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenant_predicate CONSTANT text :=
        $sql$tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid)$sql$;
    target_name text;
    target_kind "char";
    tenant_column record;
    part record;
    holder record;
BEGIN
    SELECT format('%I.%I', n.nspname, c.relname), c.relkind INTO target_name, target_kind
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = target;
    IF target_name IS NULL THEN
        RAISE EXCEPTION 'there is no table to protect' USING ERRCODE = 'undefined_table';
    END IF;
    IF target_kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table', target_name USING
            ERRCODE = 'wrong_object_type',
            HINT = 'Row-level security needs a table. Make a view WITH (security_invoker = true) over protected tables.';
    END IF;
    SELECT a.attnotnull AS is_not_null, a.atttypid = 'uuid'::regtype AS is_uuid INTO tenant_column
      FROM pg_attribute a
     WHERE a.attrelid = target AND a.attname = 'tenant_id' AND NOT a.attisdropped;
    IF NOT FOUND OR NOT tenant_column.is_uuid OR NOT tenant_column.is_not_null THEN
        RAISE EXCEPTION '% has no column tenant_id uuid NOT NULL', target_name USING
            ERRCODE = 'invalid_table_definition',
            HINT = format('ALTER TABLE %s ADD COLUMN tenant_id uuid NOT NULL, with PRIMARY KEY (tenant_id, id).', target_name);
    END IF;

    -- Row-level security is not inherited: a partition that is named directly follows its own policies only.
    FOR part IN
        SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
          FROM (SELECT target AS relid UNION SELECT relid FROM pg_partition_tree(target)) tree
          JOIN pg_class c ON c.oid = tree.relid
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part.name);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', part.name);

        IF EXISTS (SELECT FROM pg_policy WHERE polrelid = part.oid AND polname = 'tenant_guard') THEN
            EXECUTE format('DROP POLICY tenant_guard ON %s', part.name);
        END IF;
        -- RESTRICTIVE policies are AND-ed: no policy added later can open the table to another tenant. Without a tenant
        -- in the session the predicate is NULL, so there are no rows. The sub-select is evaluated once for a query.
        EXECUTE format(
            'CREATE POLICY tenant_guard ON %s AS RESTRICTIVE FOR ALL TO PUBLIC USING (%s) WITH CHECK (%s)',
            part.name, tenant_predicate, tenant_predicate);

        -- Restrictive policies alone show nothing at all: there has to be one that permits.
        IF EXISTS (SELECT FROM pg_policy WHERE polrelid = part.oid AND polname = 'tenant_open') THEN
            EXECUTE format('DROP POLICY tenant_open ON %s', part.name);
        END IF;
        EXECUTE format(
            'CREATE POLICY tenant_open ON %s AS PERMISSIVE FOR ALL TO PUBLIC USING (true) WITH CHECK (true)', part.name);

        -- These rights go round the policies: TRUNCATE empties every tenant's rows, a foreign key tells whether a row
        -- exists, a trigger sees every row.
        FOR holder IN
            SELECT DISTINCT a.grantee, coalesce(quote_ident(r.rolname), 'PUBLIC') AS name
              FROM pg_class c, aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
             WHERE c.oid = part.oid AND a.grantee <> c.relowner
               AND a.privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER')
        LOOP
            EXECUTE format('REVOKE TRUNCATE, REFERENCES, TRIGGER ON %s FROM %s', part.name, holder.name);
        END LOOP;
    END LOOP;
END
$function$;

COMMENT ON FUNCTION platform.protect_table(regclass) IS
    'Puts a table with tenant_id uuid NOT NULL, and its partitions, under tenant protection. Call it again for each new '
    'partition. Idempotent; grants nothing.';
