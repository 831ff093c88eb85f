-- Scheduled rotation of signing keys: pending -> active -> retiring -> gone.

ALTER TABLE auth.signing_keys ADD COLUMN retired_at timestamptz;
CREATE UNIQUE INDEX signing_keys_active_key ON auth.signing_keys (tenant_id) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_pending_key ON auth.signing_keys (tenant_id) WHERE state = 'pending';
GRANT SELECT (retired_at) ON auth.signing_keys TO app_rw;
-- Who makes a key must read the data key, so the role that reads keys also turns them over.
GRANT INSERT, UPDATE (state, activated_at, retired_at), DELETE ON auth.signing_keys TO app_secrets;
GRANT INSERT ON platform.audit_log TO app_secrets;

-- When the tenant's keys must be looked at next. Ten thousand tenants cost one look into this index each minute.
ALTER TABLE platform.directory ADD COLUMN keys_due_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX directory_keys_due_idx ON platform.directory (keys_due_at);

-- Any change of a tenant's keys is announced, and has them looked at soon, so that no hand that changes them must think of it.
CREATE OR REPLACE FUNCTION auth.publish_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    changed CONSTANT uuid := coalesce(new.tenant_id, old.tenant_id);
BEGIN
    PERFORM platform.log_change(changed, 'keys', NULL, 0);
    UPDATE platform.directory SET keys_due_at = now() WHERE tenant_id = changed;
    RETURN NULL;
END $$;
DROP TRIGGER publish_key ON auth.signing_keys;
CREATE TRIGGER publish_key AFTER INSERT OR UPDATE OR DELETE ON auth.signing_keys
    FOR EACH ROW EXECUTE FUNCTION auth.publish_key();

-- Tenants whose keys are due, for one node alone: the others skip them for a minute. If that node dies, they are due again.
CREATE FUNCTION platform.claim_due_keys(n bigint) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    UPDATE platform.directory d SET keys_due_at = now() + interval '1 minute'
    WHERE d.tenant_id IN (SELECT c.tenant_id FROM platform.directory c
                          WHERE c.keys_due_at <= now() AND c.state <> 'deleting'
                          ORDER BY c.keys_due_at LIMIT n FOR UPDATE SKIP LOCKED)
    RETURNING d.tenant_id;
$$;
REVOKE ALL ON FUNCTION platform.claim_due_keys FROM public;
GRANT EXECUTE ON FUNCTION platform.claim_due_keys TO app_auth;

-- The tenant is the transaction's own: nobody can put off another one's rotation.
CREATE FUNCTION auth.schedule_keys(due timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    UPDATE platform.directory SET keys_due_at = due
    WHERE tenant_id = current_setting('app.current_tenant_id')::uuid;
$$;
REVOKE ALL ON FUNCTION auth.schedule_keys FROM public;
GRANT EXECUTE ON FUNCTION auth.schedule_keys TO app_secrets;
