-- Failed sign-ins, for throttling: a row for each account and network, and one for the account over all networks (network '*'). An
-- account is named by a hash of its address, whether there is a user or not. Unlogged: losing it in a crash of the database forgets
-- delays, and costs nothing else.

CREATE UNLOGGED TABLE auth.sign_in_attempts (
    tenant_id       uuid NOT NULL,
    account         bytea NOT NULL,
    network         text NOT NULL,
    n_failures      integer NOT NULL,
    last_failure_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account, network)
);
CREATE INDEX sign_in_attempts_age_idx ON auth.sign_in_attempts (tenant_id, last_failure_at);
SELECT platform.protect_table('auth.sign_in_attempts');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.sign_in_attempts TO app_rw;

-- Networks from which a user has signed in: they go on when an account is under attack from elsewhere.
CREATE TABLE auth.known_networks (
    tenant_id    uuid NOT NULL,
    user_id      uuid NOT NULL,
    network      text NOT NULL,
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id, network),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
SELECT platform.protect_table('auth.known_networks');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.known_networks TO app_rw;
