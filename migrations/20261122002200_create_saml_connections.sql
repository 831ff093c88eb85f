-- Connections that speak SAML 2.0.

CREATE TABLE auth.saml_connections (
    tenant_id             uuid NOT NULL,
    connection_id         uuid NOT NULL,
    -- Never changes: who is known under it is known as this provider's.
    idp_entity_id         text NOT NULL CHECK (char_length(idp_entity_id) BETWEEN 1 AND 1024),
    sso_redirect_url      text CHECK (char_length(sso_redirect_url) BETWEEN 1 AND 2000),
    sso_post_url          text CHECK (char_length(sso_post_url) BETWEEN 1 AND 2000),
    wants_signed_requests boolean NOT NULL,
    -- PEM, several while the provider turns its key over. Nothing else is believed to be the provider's.
    certificates          text[] NOT NULL CHECK (cardinality(certificates) BETWEEN 1 AND 10),
    -- Where the four above are read again from; null = they are set by hand.
    metadata_url          text CHECK (char_length(metadata_url) BETWEEN 1 AND 2000),
    metadata_read_at      timestamptz,
    metadata_tried_at     timestamptz,
    -- What was wrong at the last try; null = nothing.
    metadata_error        text,
    -- Believes assertions that nobody here asked for.
    idp_initiated         boolean NOT NULL,
    want_encrypted        boolean NOT NULL,
    -- Attribute that names a person for good, and never changes; null = the NameID.
    subject_attribute     text CHECK (char_length(subject_attribute) BETWEEN 1 AND 200),
    -- Null = the usual ones are looked for.
    email_attribute       text CHECK (char_length(email_attribute) BETWEEN 1 AND 200),
    name_attribute        text CHECK (char_length(name_attribute) BETWEEN 1 AND 200),
    -- Classes of authentication that mean two factors.
    mfa_contexts          text[] NOT NULL,
    logout_url            text CHECK (char_length(logout_url) BETWEEN 1 AND 2000),
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE,
    CHECK (sso_redirect_url IS NOT NULL OR sso_post_url IS NOT NULL)
);
SELECT platform.protect_table('auth.saml_connections');
GRANT SELECT, INSERT, DELETE,
      UPDATE (sso_redirect_url, sso_post_url, wants_signed_requests, certificates, metadata_url, metadata_read_at, metadata_tried_at,
              metadata_error, idp_initiated, want_encrypted, email_attribute, name_attribute, mfa_contexts, logout_url)
      ON auth.saml_connections TO app_rw;

-- Our own keys, a pair for each connection: one signs, all are published and decrypt.
CREATE TABLE auth.saml_keys (
    tenant_id       uuid NOT NULL,
    id              uuid NOT NULL,
    connection_id   uuid NOT NULL,
    -- next: published, does not sign yet. retiring: signs no more, still decrypts.
    state           text NOT NULL CHECK (state IN ('next', 'active', 'retiring')),
    certificate_pem text NOT NULL,
    -- In an envelope under this version of the tenant's data key; only app_secrets reads it.
    private_key_enc bytea NOT NULL,
    key_version     integer NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    -- One of each, so that a rotation cannot be begun twice.
    CONSTRAINT saml_keys_state_key UNIQUE (tenant_id, connection_id, state),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE
);
SELECT platform.protect_table('auth.saml_keys');
GRANT SELECT (tenant_id, id, connection_id, state, certificate_pem, key_version, created_at), INSERT, DELETE, UPDATE (state)
      ON auth.saml_keys TO app_rw;
GRANT SELECT ON auth.saml_keys TO app_secrets;
