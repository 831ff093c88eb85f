-- Passkeys, and the halves of WebAuthn ceremonies that the server must remember.

CREATE TABLE auth.passkeys (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    user_id       uuid NOT NULL,
    name          text NOT NULL,
    -- What the authenticator calls it; unique in the tenant, so that a sign-in without a name finds one user.
    credential_id bytea NOT NULL,
    -- Public key, counter, flags: nothing that lets its reader sign in.
    credential    jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT passkeys_credential_key UNIQUE (tenant_id, credential_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX passkeys_user_idx ON auth.passkeys (tenant_id, user_id);
SELECT platform.protect_table('auth.passkeys');
GRANT SELECT, INSERT, DELETE, UPDATE (credential, last_used_at) ON auth.passkeys TO app_rw;

-- Read once: the answer to a challenge takes its row away.
CREATE TABLE auth.passkey_ceremonies (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    -- Null for a sign-in, which does not know yet who it is.
    user_id    uuid,
    purpose    text NOT NULL CHECK (purpose IN ('register', 'sign_in', 'step_up', 'passwordless')),
    -- The challenge of a sign-in by password that this one finishes.
    challenge  uuid,
    state      jsonb NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX passkey_ceremonies_expiry_idx ON auth.passkey_ceremonies (tenant_id, expires_at);
SELECT platform.protect_table('auth.passkey_ceremonies');
GRANT SELECT, INSERT, DELETE ON auth.passkey_ceremonies TO app_rw;
