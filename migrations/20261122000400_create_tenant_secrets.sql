-- Secrets that a tenant gives the platform to use on its behalf, such as its key for an AI provider. They go in and never come out:
-- only app_secrets reads the envelopes.

CREATE TABLE platform.tenant_secrets (
    tenant_id   uuid NOT NULL,
    name        text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    -- What it is for, in its admin's words.
    purpose     text NOT NULL DEFAULT '' CHECK (char_length(purpose) <= 200),
    -- In an envelope under this version of the tenant's data key.
    secret_enc  bytea NOT NULL,
    key_version integer NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('platform.tenant_secrets');
GRANT SELECT (tenant_id, name, purpose, key_version, created_at, updated_at), INSERT, DELETE,
      UPDATE (purpose, secret_enc, key_version, updated_at) ON platform.tenant_secrets TO app_rw;
GRANT SELECT ON platform.tenant_secrets TO app_secrets;

-- Every node reads the tenant again.
CREATE FUNCTION platform.publish_tenant_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM platform.log_change(coalesce(new.tenant_id, old.tenant_id), 'keys', NULL, 0);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION platform.publish_tenant_secret FROM public;
CREATE TRIGGER publish_tenant_secret AFTER INSERT OR UPDATE OR DELETE ON platform.tenant_secrets
    FOR EACH ROW EXECUTE FUNCTION platform.publish_tenant_secret();
