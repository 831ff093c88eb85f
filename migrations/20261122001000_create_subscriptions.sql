-- What is sold, and to whom.

-- The figures of each version of a plan, as they were when the server first started with them. Nobody changes or deletes one:
-- subscriptions point at them. They are the platform's, not a tenant's.
CREATE TABLE billing.plan_versions (
    plan        text NOT NULL CHECK (char_length(plan) BETWEEN 1 AND 64),
    version     integer NOT NULL CHECK (version > 0),
    figures     jsonb NOT NULL CHECK (jsonb_typeof(figures) = 'object'),
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (plan, version)
);
GRANT SELECT ON billing.plan_versions TO app_rw, app_ops;

CREATE FUNCTION billing.refuse_plan_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'a version of a plan stays what it was' USING ERRCODE = 'restrict_violation';
END $$;
REVOKE ALL ON FUNCTION billing.refuse_plan_change FROM public;
CREATE TRIGGER refuse_plan_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.plan_versions
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_plan_change();

-- One for each tenant. A tenant without a row has the plan of its own row, in the newest version.
CREATE TABLE billing.subscriptions (
    tenant_id              uuid PRIMARY KEY REFERENCES platform.tenants (tenant_id),
    id                     uuid NOT NULL DEFAULT gen_random_uuid(),
    plan                   text NOT NULL,
    plan_version           integer NOT NULL,
    -- Modules beside the plan's own, each with the price that was agreed: [{"name", "price_minor"}].
    add_ons                jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(add_ons) = 'array'),
    status                 text NOT NULL DEFAULT 'active'
        CHECK (status IN ('trialing', 'active', 'past_due', 'restricted', 'suspended', 'canceled')),
    started_at             timestamptz NOT NULL DEFAULT now(),
    is_trial               boolean NOT NULL DEFAULT false,
    trial_end              timestamptz,
    -- What comes next, and when.
    scheduled              jsonb CHECK (jsonb_typeof(scheduled) = 'object'),
    scheduled_at           timestamptz,
    canceled_at            timestamptz,
    -- {"code", "discount", "starts_at", "ends_at"}, as agreed.
    coupon                 jsonb CHECK (jsonb_typeof(coupon) = 'object'),
    used_coupons           text[] NOT NULL DEFAULT '{}',
    is_tax_exempt          boolean NOT NULL DEFAULT false,
    stripe_customer_id     text,
    stripe_subscription_id text,
    revision               bigint NOT NULL DEFAULT 1 CHECK (revision > 0),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (plan, plan_version) REFERENCES billing.plan_versions (plan, version),
    CHECK ((scheduled IS NULL) = (scheduled_at IS NULL)),
    CHECK (trial_end IS NOT NULL OR NOT is_trial)
);
SELECT platform.protect_table('billing.subscriptions');
GRANT SELECT, INSERT, UPDATE ON billing.subscriptions TO app_rw;
GRANT SELECT ON billing.subscriptions TO app_ops;

-- What was agreed, from which moment on. Rows are added and never changed: a bill asks what held at the first instant of its period.
CREATE TABLE billing.subscription_changes (
    tenant_id    uuid NOT NULL REFERENCES platform.tenants (tenant_id),
    revision     bigint NOT NULL CHECK (revision > 0),
    kind         text NOT NULL CHECK (kind IN ('begin', 'change', 'trial_end', 'cancel')),
    plan         text NOT NULL,
    plan_version integer NOT NULL,
    add_ons      jsonb NOT NULL CHECK (jsonb_typeof(add_ons) = 'array'),
    -- Nothing is to be paid in a trial, and nothing after the end.
    is_billed    boolean NOT NULL,
    effective_at timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, revision),
    FOREIGN KEY (plan, plan_version) REFERENCES billing.plan_versions (plan, version)
);
CREATE INDEX subscription_changes_time_idx ON billing.subscription_changes (tenant_id, effective_at, revision);
SELECT platform.protect_table('billing.subscription_changes');
GRANT SELECT, INSERT ON billing.subscription_changes TO app_rw;
GRANT SELECT ON billing.subscription_changes TO app_ops;

-- What the next invoice has besides prices and usage. A row is added once for each key, and only ever learns its invoice.
CREATE TABLE billing.pending_items (
    tenant_id    uuid NOT NULL REFERENCES platform.tenants (tenant_id),
    id           uuid NOT NULL,
    key          text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 200),
    kind         text NOT NULL CHECK (kind IN ('proration_credit', 'proration_charge', 'one_off', 'late_usage')),
    description  text NOT NULL CHECK (char_length(description) BETWEEN 1 AND 500),
    amount_minor bigint NOT NULL,
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    invoice_id   uuid,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT pending_items_key_key UNIQUE (tenant_id, key),
    CHECK (period_start <= period_end),
    CHECK (kind <> 'proration_credit' OR amount_minor < 0),
    CHECK (kind <> 'proration_charge' OR amount_minor > 0)
);
CREATE INDEX pending_items_unbilled_idx ON billing.pending_items (tenant_id, created_at) WHERE invoice_id IS NULL;
SELECT platform.protect_table('billing.pending_items');
GRANT SELECT, INSERT, UPDATE (invoice_id) ON billing.pending_items TO app_rw;
GRANT SELECT ON billing.pending_items TO app_ops;
