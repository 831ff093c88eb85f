-- What Stripe tells us. The inbox belongs to the platform's own tenant, because whose an event is turns out only when its object
-- has been looked at; what was looked at belongs to the tenant.

CREATE TABLE billing.stripe_events (
    tenant_id       uuid NOT NULL,
    -- Stripe's: the same event comes any number of times.
    id              text NOT NULL CHECK (char_length(id) BETWEEN 1 AND 255),
    kind            text NOT NULL CHECK (char_length(kind) BETWEEN 1 AND 255),
    object_kind     text CHECK (char_length(object_kind) <= 255),
    object_id       text CHECK (char_length(object_id) <= 255),
    -- When it happened, as Stripe says; when it came here.
    occurred_at     timestamptz NOT NULL,
    received_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- As it was signed, whatever its shape.
    raw             bytea NOT NULL CHECK (octet_length(raw) <= 1048576),
    -- ignored: of a kind that nothing is done about, or somebody else's on the same account.
    status          text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'done', 'ignored')),
    n_attempts      integer NOT NULL DEFAULT 0 CHECK (n_attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_error      text CHECK (char_length(last_error) <= 500),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
CREATE INDEX stripe_events_due_idx ON billing.stripe_events (tenant_id, next_attempt_at) WHERE status = 'waiting';
CREATE INDEX stripe_events_age_idx ON billing.stripe_events (tenant_id, received_at) WHERE status <> 'waiting';
SELECT platform.protect_table('billing.stripe_events');
GRANT SELECT, INSERT, UPDATE, DELETE ON billing.stripe_events TO app_rw;

-- Stripe's objects as they were when they were last fetched.
CREATE TABLE billing.stripe_objects (
    tenant_id  uuid NOT NULL,
    id         text NOT NULL CHECK (char_length(id) BETWEEN 1 AND 255),
    kind       text NOT NULL CHECK (char_length(kind) BETWEEN 1 AND 255),
    data       jsonb NOT NULL CHECK (jsonb_typeof(data) = 'object'),
    -- Grows with each change. Who fetched an object writes it only if it is still the one that was known before the fetch, so
    -- an older picture never replaces a newer one.
    revision   bigint NOT NULL DEFAULT 1 CHECK (revision > 0),
    fetched_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('billing.stripe_objects');
GRANT SELECT, INSERT, UPDATE ON billing.stripe_objects TO app_rw;
GRANT SELECT ON billing.stripe_objects TO app_ops;

-- Up to when Stripe's own list of events has been gone through.
CREATE TABLE billing.stripe_cursors (
    tenant_id  uuid NOT NULL,
    name       text NOT NULL CHECK (name ~ '^[a-z][a-z_]{0,63}$'),
    seen_until timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('billing.stripe_cursors');
GRANT SELECT, INSERT, UPDATE ON billing.stripe_cursors TO app_rw;
