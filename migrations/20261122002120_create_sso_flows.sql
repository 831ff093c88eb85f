-- Sign-ins by a connection while they are under way.

-- Between leaving for the provider and coming back. The client holds a token made from the id; nonce and PKCE verifier are made from it
-- too, with the tenant's key, so that whoever reads this table can use nothing of it.
CREATE TABLE auth.sso_flows (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    connection_id  uuid NOT NULL,
    purpose        text NOT NULL CHECK (purpose IN ('sign_in', 'step_up', 'link')),
    -- Of a flow that a signed-in user began.
    user_id        uuid,
    session_id     uuid,
    -- SHA-256 of what the browser's cookie says; null until a browser has left with it.
    browser_hash   bytea,
    return_to      text NOT NULL,
    client_state   text,
    -- PKCE challenge (S256) of the client that will redeem the code.
    code_challenge text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz NOT NULL,
    used_at        timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    CHECK ((purpose = 'sign_in') = (user_id IS NULL)),
    CHECK ((user_id IS NULL) = (session_id IS NULL))
);
CREATE INDEX sso_flows_expires_idx ON auth.sso_flows (tenant_id, expires_at);
CREATE INDEX sso_flows_connection_idx ON auth.sso_flows (tenant_id, connection_id);
CREATE INDEX sso_flows_user_idx ON auth.sso_flows (tenant_id, user_id) WHERE user_id IS NOT NULL;
SELECT platform.protect_table('auth.sso_flows');
GRANT SELECT, INSERT, DELETE, UPDATE (browser_hash, used_at) ON auth.sso_flows TO app_rw;

-- What the browser brings to the client, which exchanges it for tokens: never a token in a URL.
CREATE TABLE auth.sso_codes (
    tenant_id      uuid NOT NULL,
    -- SHA-256: a code has 256 random bits, which nobody can try out.
    code_hash      bytea NOT NULL,
    connection_id  uuid NOT NULL,
    purpose        text NOT NULL CHECK (purpose IN ('sign_in', 'step_up', 'link')),
    user_id        uuid NOT NULL,
    session_id     uuid,
    -- Of a person who is to be linked when the code is redeemed.
    subject        text NOT NULL,
    acr            text NOT NULL CHECK (acr IN ('aal1', 'aal2')),
    amr            text[] NOT NULL,
    auth_time      timestamptz NOT NULL,
    browser_hash   bytea NOT NULL,
    code_challenge text,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, code_hash),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sso_codes_connection_idx ON auth.sso_codes (tenant_id, connection_id);
CREATE INDEX sso_codes_user_idx ON auth.sso_codes (tenant_id, user_id);
SELECT platform.protect_table('auth.sso_codes');
GRANT SELECT, INSERT, DELETE ON auth.sso_codes TO app_rw;

-- By which connection a session came. Sessions may live outside the database, so it is no column of theirs.
CREATE TABLE auth.sso_sessions (
    tenant_id     uuid NOT NULL,
    session_id    uuid NOT NULL,
    connection_id uuid NOT NULL,
    user_id       uuid NOT NULL,
    -- The session's last possible moment.
    ends_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sso_sessions_connection_idx ON auth.sso_sessions (tenant_id, connection_id);
CREATE INDEX sso_sessions_user_idx ON auth.sso_sessions (tenant_id, user_id);
SELECT platform.protect_table('auth.sso_sessions');
GRANT SELECT, INSERT, DELETE ON auth.sso_sessions TO app_rw;

-- A sign-in that waits for its second factor may have begun at a provider instead of with a password.
ALTER TABLE auth.mfa_challenges ADD COLUMN connection_id uuid,
    ADD CONSTRAINT mfa_challenges_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX mfa_challenges_connection_idx ON auth.mfa_challenges (tenant_id, connection_id) WHERE connection_id IS NOT NULL;
