-- Connections of tenants to identity providers. What every kind has is in sso_connections; what is a protocol's own is in a table for
-- that protocol, so that another kind is another table.

CREATE TABLE auth.sso_connections (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('oidc', 'saml')),
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    is_enabled   boolean NOT NULL,
    -- Makes users of people whom the provider knows and the tenant does not.
    jit          boolean NOT NULL,
    -- Sets the role again at each sign-in, not only when the user is made.
    sync_roles   boolean NOT NULL,
    default_role text NOT NULL CHECK (default_role IN ('owner', 'admin', 'member', 'billing')),
    -- Claim whose values mean roles, and which: [{"value", "role"}], the first that fits counts.
    role_claim   text CHECK (char_length(role_claim) BETWEEN 1 AND 100),
    role_map     jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(role_map) = 'array'),
    -- Second factors that the provider has seen count here.
    trusts_mfa   boolean NOT NULL,
    revision     bigint NOT NULL DEFAULT 1 CHECK (revision > 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT sso_connections_name_key UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('auth.sso_connections');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.sso_connections TO app_rw;

CREATE TABLE auth.oidc_connections (
    tenant_id         uuid NOT NULL,
    connection_id     uuid NOT NULL,
    -- Never changes: who is known under it is known as the old issuer's.
    issuer            text NOT NULL CHECK (char_length(issuer) BETWEEN 1 AND 2000),
    client_id         text NOT NULL CHECK (char_length(client_id) BETWEEN 1 AND 500),
    -- In an envelope under this version of the tenant's data key; only app_secrets reads it. Null = a public client.
    client_secret_enc bytea,
    key_version       integer,
    scopes            text[] NOT NULL,
    -- What names a person at this provider for good.
    subject_from      text NOT NULL CHECK (subject_from IN ('sub', 'tid_oid')),
    mfa_acr_values    text[] NOT NULL,
    post_logout_url   text,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE,
    CHECK ((client_secret_enc IS NULL) = (key_version IS NULL))
);
SELECT platform.protect_table('auth.oidc_connections');
GRANT SELECT (tenant_id, connection_id, issuer, client_id, key_version, scopes, subject_from, mfa_acr_values, post_logout_url),
      INSERT, DELETE, UPDATE (client_id, client_secret_enc, key_version, scopes, mfa_acr_values, post_logout_url)
      ON auth.oidc_connections TO app_rw;
GRANT SELECT ON auth.oidc_connections TO app_secrets;

-- Who a person is at a provider, and here. Never by e-mail: addresses are given to other people.
CREATE TABLE auth.sso_identities (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    subject       text NOT NULL CHECK (char_length(subject) BETWEEN 1 AND 512),
    user_id       uuid NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id, subject),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sso_identities_user_idx ON auth.sso_identities (tenant_id, user_id);
SELECT platform.protect_table('auth.sso_identities');
GRANT SELECT, INSERT, DELETE, UPDATE (user_id, last_used_at) ON auth.sso_identities TO app_rw;
