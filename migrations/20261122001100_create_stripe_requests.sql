-- What is asked of Stripe, written down before it is asked: after a crash, a lost answer or a night without a network the same
-- request is sent again under the same idempotency key, so it is done once.

CREATE TABLE billing.stripe_requests (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    operation     text NOT NULL CHECK (operation ~ '^[a-z][a-z_]{0,63}$'),
    -- The object that it is done to, where there is one already.
    target        text CHECK (char_length(target) BETWEEN 1 AND 255),
    params        jsonb NOT NULL CHECK (jsonb_typeof(params) = 'object'),
    -- What it is in the words of the business: one fact, one request.
    key           text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 150),
    -- Grows when the idempotency key must be a new one, which it must only when it is known that nothing was done under the old.
    revision      integer NOT NULL DEFAULT 1 CHECK (revision > 0),
    -- waiting: nobody knows (yet) what came of it; done; refused: Stripe said no, for good.
    state         text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'refused')),
    -- Under the present revision.
    first_sent_at timestamptz,
    last_sent_at  timestamptz,
    n_attempts    integer NOT NULL DEFAULT 0 CHECK (n_attempts >= 0),
    result        jsonb,
    error_code    text CHECK (char_length(error_code) <= 100),
    error_detail  text CHECK (char_length(error_detail) <= 500),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at    timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    CHECK ((state = 'waiting') = (settled_at IS NULL)),
    CHECK ((state = 'done') = (result IS NOT NULL)),
    CHECK ((state = 'refused') = (error_code IS NOT NULL))
);
SELECT platform.protect_table('billing.stripe_requests');
GRANT SELECT, INSERT, UPDATE ON billing.stripe_requests TO app_rw;
GRANT SELECT ON billing.stripe_requests TO app_ops;

-- The customer that stands for a tenant at Stripe.
CREATE TABLE billing.stripe_customers (
    tenant_id   uuid PRIMARY KEY REFERENCES platform.tenants (tenant_id),
    customer_id text NOT NULL CHECK (char_length(customer_id) BETWEEN 1 AND 255),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT platform.protect_table('billing.stripe_customers');
GRANT SELECT, INSERT ON billing.stripe_customers TO app_rw;
GRANT SELECT ON billing.stripe_customers TO app_ops;

-- Checkouts that were begun. At most one of a tenant can be paid at a time.
CREATE TABLE billing.stripe_checkouts (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    session_id text CHECK (char_length(session_id) BETWEEN 1 AND 255),
    params     jsonb NOT NULL CHECK (jsonb_typeof(params) = 'object'),
    -- opening: it may exist at Stripe, and nobody has seen it.
    state      text NOT NULL DEFAULT 'opening' CHECK (state IN ('opening', 'open', 'closed')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    CHECK (state = 'opening' OR session_id IS NOT NULL)
);
CREATE UNIQUE INDEX stripe_checkouts_open_key ON billing.stripe_checkouts (tenant_id) WHERE state <> 'closed';
SELECT platform.protect_table('billing.stripe_checkouts');
GRANT SELECT, INSERT, UPDATE ON billing.stripe_checkouts TO app_rw;
