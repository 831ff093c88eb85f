-- Keys for machines. A key belongs to the tenant, not to the user who made it: that user may go and the key stays, until
-- somebody revokes it. A row is kept after that, for the audit trail.

CREATE TABLE auth.api_keys (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    -- SHA-256 of the whole key. The secret in it is random and long, so nothing slower is needed.
    secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes       text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 50),
    created_by   uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    -- Written at most once a minute, so it may be a minute behind.
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   uuid,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
SELECT platform.protect_table('auth.api_keys');
GRANT SELECT, INSERT, UPDATE (last_used_at, revoked_at, revoked_by) ON auth.api_keys TO app_rw;

-- For 'session' and 'api_key', `subject` is what ended.
ALTER TABLE platform.config_log DROP CONSTRAINT config_log_kind_check;
ALTER TABLE platform.config_log ADD CONSTRAINT config_log_kind_check
    CHECK (kind IN ('tenant', 'keys', 'session', 'api_key'));

-- A new key is read with the tenant's other keys. A revoked one is named, so that a node can refuse it without asking the
-- database again.
CREATE FUNCTION auth.publish_api_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM platform.log_change(new.tenant_id, 'keys', NULL, 0);
    ELSE
        PERFORM platform.log_change(new.tenant_id, 'api_key', new.id, 0);
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION auth.publish_api_key FROM public;
CREATE TRIGGER publish_new_api_key AFTER INSERT ON auth.api_keys
    FOR EACH ROW EXECUTE FUNCTION auth.publish_api_key();
CREATE TRIGGER publish_revoked_api_key AFTER UPDATE OF revoked_at ON auth.api_keys
    FOR EACH ROW WHEN (old.revoked_at IS NULL AND new.revoked_at IS NOT NULL)
    EXECUTE FUNCTION auth.publish_api_key();

-- A key may be who did it.
ALTER TABLE platform.audit_log DROP CONSTRAINT audit_log_actor_kind_check;
ALTER TABLE platform.audit_log ADD CONSTRAINT audit_log_actor_kind_check
    CHECK (actor_kind IN ('anonymous', 'user', 'operator', 'system', 'key'));
