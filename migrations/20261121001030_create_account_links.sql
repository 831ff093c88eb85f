-- Links that were mailed to users: to set a new password, or to prove an address. A link's token stands for its row, and each is
-- good once.

CREATE TABLE auth.account_links (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    user_id    uuid NOT NULL,
    purpose    text NOT NULL CHECK (purpose IN ('password_reset', 'email_verification')),
    -- Where the link was sent; for a verification the address that it proves.
    email      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    -- Set when it was used, or when something made it worthless.
    used_at    timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX account_links_user_idx ON auth.account_links (tenant_id, user_id, created_at);
SELECT platform.protect_table('auth.account_links');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.account_links TO app_rw;
