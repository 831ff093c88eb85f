-- Mail to be sent, written in the transaction of what it tells; the mailer takes it from here. A row holds no token: the mailer
-- makes the link's token from `row_id` and the tenant's key.

CREATE TABLE platform.mail_outbox (
    tenant_id       uuid NOT NULL,
    id              uuid NOT NULL,
    kind            text NOT NULL,
    recipient       text NOT NULL,
    -- What the template says besides the tenant's name; never a secret.
    detail          jsonb NOT NULL DEFAULT '{}',
    -- The row that the link's token stands for.
    row_id          uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    n_attempts      integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    -- Given up: operators see these.
    dead_at         timestamptz,
    last_error      text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
CREATE INDEX mail_outbox_due_idx ON platform.mail_outbox (tenant_id, next_attempt_at) WHERE sent_at IS NULL AND dead_at IS NULL;
SELECT platform.protect_table('platform.mail_outbox');
GRANT SELECT, INSERT, UPDATE, DELETE ON platform.mail_outbox TO app_rw;
