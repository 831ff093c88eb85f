-- No tenant's backlog may keep the others waiting.

-- Tenants with mail that is due, in any order: one with much of it has no more turns than one with little.
CREATE OR REPLACE FUNCTION platform.list_tenants_with_due_mail(n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM platform.mail_queue q WHERE NOT q.is_dead AND q.due_at <= clock_timestamp()
      GROUP BY q.tenant_id ORDER BY random() LIMIT n $$;

-- Tenants with rows to seal, a page after another: a round of the sealer comes to each of them.
DROP FUNCTION platform.list_unsealed_tenants(bigint);
CREATE FUNCTION platform.list_unsealed_tenants(after uuid, n bigint) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT DISTINCT m.tenant_id FROM platform.audit_marks m WHERE m.tenant_id > after ORDER BY m.tenant_id LIMIT n $$;
REVOKE ALL ON FUNCTION platform.list_unsealed_tenants FROM public;
GRANT EXECUTE ON FUNCTION platform.list_unsealed_tenants TO app_auth;
