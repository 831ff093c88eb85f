-- Users, signing keys, sessions. A user belongs to one tenant; a session is bound to one tenant for life.

CREATE TABLE auth.users (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    email         text NOT NULL,
    -- Lower-cased, NFKC: a stored column because an index on an expression is not used under row-level security.
    email_norm    text NOT NULL,
    name          text,
    role          text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'billing', 'operator')),
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    -- argon2id in PHC form; null = cannot sign in by password.
    password_hash text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT users_email_key UNIQUE (tenant_id, email_norm),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('auth.users');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.users TO app_rw;

CREATE TABLE auth.signing_keys (
    tenant_id       uuid NOT NULL,
    kid             text NOT NULL,
    algorithm       text NOT NULL CHECK (algorithm IN ('ES256', 'EdDSA')),
    state           text NOT NULL CHECK (state IN ('pending', 'active', 'retiring')),
    -- The public key as a JWK without `kid`, `use` and `alg`.
    public_jwk      jsonb NOT NULL,
    -- PKCS#8, in an envelope under the tenant's data key; only app_secrets reads it.
    private_key_enc bytea NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    activated_at    timestamptz,
    PRIMARY KEY (tenant_id, kid),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('auth.signing_keys');
GRANT INSERT, SELECT (tenant_id, kid, algorithm, state, public_jwk, created_at, activated_at) ON auth.signing_keys TO app_rw;
GRANT SELECT ON auth.signing_keys TO app_secrets;
GRANT USAGE ON SCHEMA auth TO app_secrets;

CREATE TABLE auth.sessions (
    tenant_id           uuid NOT NULL,
    id                  uuid NOT NULL,
    user_id             uuid NOT NULL,
    -- Number of the current refresh token; each rotation adds one.
    refresh_ctr         bigint NOT NULL DEFAULT 1,
    rotated_at          timestamptz NOT NULL DEFAULT now(),
    created_at          timestamptz NOT NULL DEFAULT now(),
    idle_expires_at     timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    acr                 text NOT NULL,
    amr                 text[] NOT NULL,
    auth_time           timestamptz NOT NULL,
    mfa_time            timestamptz,
    -- The tenant's epoch at sign-in: a switch that kills access tokens kills the sessions behind them too.
    epoch               bigint NOT NULL,
    ip                  inet,
    user_agent          text,
    revoked_at          timestamptz,
    revoked_reason      text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sessions_user_idx ON auth.sessions (tenant_id, user_id);
CREATE INDEX sessions_revoked_idx ON auth.sessions (tenant_id, revoked_at) WHERE revoked_at IS NOT NULL;
SELECT platform.protect_table('auth.sessions');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.sessions TO app_rw;

-- An ended session is announced to every node in the transaction that ends it.
CREATE FUNCTION auth.publish_revocation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM platform.log_change(new.tenant_id, 'session', new.id, 0);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION auth.publish_revocation FROM public;
CREATE TRIGGER publish_revocation AFTER UPDATE OF revoked_at ON auth.sessions
    FOR EACH ROW WHEN (old.revoked_at IS NULL AND new.revoked_at IS NOT NULL)
    EXECUTE FUNCTION auth.publish_revocation();

CREATE FUNCTION auth.publish_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM platform.log_change(new.tenant_id, 'keys', NULL, 0);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION auth.publish_key FROM public;
CREATE TRIGGER publish_key AFTER INSERT OR UPDATE ON auth.signing_keys
    FOR EACH ROW EXECUTE FUNCTION auth.publish_key();
