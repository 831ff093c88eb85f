-- Second factors: TOTP, recovery codes, and sign-ins that wait for one.

CREATE TABLE auth.totp_factors (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    -- Pending until a code proves that the authenticator has the secret. A new enrolment replaces a pending one, and its
    -- confirmation the active one.
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active')),
    -- 160 bits, in an envelope under this version of the tenant's data key; only app_secrets reads it.
    secret_enc   bytea NOT NULL,
    key_version  integer NOT NULL,
    -- Number of the 30-second step whose code was used last: a code works once.
    last_step    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT totp_factors_state_key UNIQUE (tenant_id, user_id, state),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
SELECT platform.protect_table('auth.totp_factors');
GRANT SELECT (tenant_id, id, user_id, state, key_version, last_step, created_at, confirmed_at), INSERT, DELETE,
      UPDATE (state, last_step, confirmed_at) ON auth.totp_factors TO app_rw;
GRANT SELECT ON auth.totp_factors TO app_secrets;

CREATE TABLE auth.recovery_codes (
    tenant_id  uuid NOT NULL,
    user_id    uuid NOT NULL,
    -- SHA-256: a code has 120 random bits, which nobody can try out.
    code_hash  bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    PRIMARY KEY (tenant_id, user_id, code_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
SELECT platform.protect_table('auth.recovery_codes');
GRANT SELECT, INSERT, DELETE, UPDATE (used_at) ON auth.recovery_codes TO app_rw;

-- A sign-in whose password was right and whose second factor is missing. The client holds a token made from the id.
CREATE TABLE auth.mfa_challenges (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    user_id    uuid NOT NULL,
    n_attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    ip         inet,
    user_agent text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX mfa_challenges_user_idx ON auth.mfa_challenges (tenant_id, user_id);
SELECT platform.protect_table('auth.mfa_challenges');
GRANT SELECT, INSERT, DELETE, UPDATE (n_attempts, used_at) ON auth.mfa_challenges TO app_rw;

-- How many codes were tried for a user lately. Sign-in and step-up count apart, so that whoever has stolen a password cannot
-- keep a user who is signed in from stepping up.
CREATE TABLE auth.code_attempts (
    tenant_id    uuid NOT NULL,
    user_id      uuid NOT NULL,
    purpose      text NOT NULL CHECK (purpose IN ('sign_in', 'step_up')),
    n            integer NOT NULL DEFAULT 1,
    window_began timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id, purpose),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
SELECT platform.protect_table('auth.code_attempts');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.code_attempts TO app_rw;
