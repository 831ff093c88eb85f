-- Invitations. A token stands for a row (nothing secret is stored), and works while the row is open: not accepted, not withdrawn
-- and not past its time.

CREATE TABLE auth.invitations (
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,
    -- 'user': to be a user of this tenant. 'tenant': to found a tenant; only in the tenant of the platform.
    kind        text NOT NULL CHECK (kind IN ('user', 'tenant')),
    email       text NOT NULL,
    email_norm  text NOT NULL,
    name        text,
    role        text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'billing', 'operator')),
    -- The user who was made beforehand and only lacks a password.
    user_id     uuid,
    invited_by  uuid,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at  timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
-- One open invitation for an address.
CREATE UNIQUE INDEX invitations_open_key ON auth.invitations (tenant_id, kind, email_norm)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_user_idx ON auth.invitations (tenant_id, user_id);
SELECT platform.protect_table('auth.invitations');
GRANT SELECT, INSERT, UPDATE ON auth.invitations TO app_rw;
