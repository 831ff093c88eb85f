-- What happened to a tenant's money at Stripe, in our words, each fact once however often and in whatever order it was told.

CREATE TABLE billing.payment_events (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    kind         text NOT NULL CHECK (kind ~ '^[a-z][a-z_]{0,63}$'),
    -- Stripe's invoice, subscription, checkout, charge, refund, dispute or credit note.
    object_id    text NOT NULL CHECK (char_length(object_id) BETWEEN 1 AND 255),
    -- Which one of its kind for this object: empty where there can be only one.
    occurrence   text NOT NULL DEFAULT '' CHECK (char_length(occurrence) <= 255),
    amount_minor bigint,
    currency     text CHECK (currency ~ '^[A-Z]{3}$'),
    occurred_at  timestamptz NOT NULL,
    -- What it takes to act on it: ids and states, nobody's name or address.
    detail       jsonb NOT NULL CHECK (jsonb_typeof(detail) = 'object'),
    noted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When our books followed.
    applied_at   timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, object_id, kind, occurrence),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    CHECK ((amount_minor IS NULL) = (currency IS NULL))
);
CREATE INDEX payment_events_open_idx ON billing.payment_events (tenant_id, id) WHERE applied_at IS NULL;
SELECT platform.protect_table('billing.payment_events');
GRANT SELECT, INSERT, UPDATE ON billing.payment_events TO app_rw;
GRANT SELECT ON billing.payment_events TO app_ops;

-- What must be found before a tenant is known: who has work that waits, and since when. Ids and times; what the work is stands
-- in the tables above, under row-level security.
CREATE TABLE billing.stripe_queue (
    tenant_id uuid NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('request', 'payment_event')),
    id        uuid NOT NULL,
    due_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind, id)
);
CREATE INDEX stripe_queue_due_idx ON billing.stripe_queue (kind, due_at);

-- A request waits here only once it was sent: what never went out is its caller's to send.
CREATE FUNCTION billing.queue_stripe_request() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF new.state = 'waiting' AND new.first_sent_at IS NOT NULL THEN
        INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
        VALUES (new.tenant_id, 'request', new.id, new.last_sent_at + interval '1 minute')
        ON CONFLICT (tenant_id, kind, id) DO UPDATE SET due_at = excluded.due_at;
    ELSE
        DELETE FROM billing.stripe_queue WHERE tenant_id = new.tenant_id AND kind = 'request' AND id = new.id;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION billing.queue_payment_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF new.applied_at IS NULL THEN
        INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
        VALUES (new.tenant_id, 'payment_event', new.id, new.noted_at) ON CONFLICT (tenant_id, kind, id) DO NOTHING;
    ELSE
        DELETE FROM billing.stripe_queue WHERE tenant_id = new.tenant_id AND kind = 'payment_event' AND id = new.id;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.queue_stripe_request, billing.queue_payment_event FROM public;
CREATE TRIGGER queue_stripe_request AFTER INSERT OR UPDATE ON billing.stripe_requests
    FOR EACH ROW EXECUTE FUNCTION billing.queue_stripe_request();
CREATE TRIGGER queue_payment_event AFTER INSERT OR UPDATE ON billing.payment_events
    FOR EACH ROW EXECUTE FUNCTION billing.queue_payment_event();

-- Tenants with work of a kind that is due, the longest waiting first.
CREATE FUNCTION billing.list_tenants_with_stripe_work(wanted text, n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM billing.stripe_queue q WHERE q.kind = wanted AND q.due_at <= clock_timestamp()
      GROUP BY q.tenant_id ORDER BY min(q.due_at) LIMIT n $$;

-- Whose a customer of Stripe's is. One customer is one tenant's.
CREATE TABLE billing.stripe_customer_directory (
    customer_id text PRIMARY KEY,
    tenant_id   uuid NOT NULL UNIQUE
);
CREATE FUNCTION billing.publish_stripe_customer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO billing.stripe_customer_directory (customer_id, tenant_id) VALUES (new.customer_id, new.tenant_id);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.publish_stripe_customer FROM public;
CREATE TRIGGER publish_stripe_customer AFTER INSERT ON billing.stripe_customers
    FOR EACH ROW EXECUTE FUNCTION billing.publish_stripe_customer();
CREATE FUNCTION billing.find_tenant_of_stripe_customer(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT d.tenant_id FROM billing.stripe_customer_directory d WHERE d.customer_id = wanted $$;

REVOKE ALL ON FUNCTION billing.list_tenants_with_stripe_work, billing.find_tenant_of_stripe_customer FROM public;
GRANT EXECUTE ON FUNCTION billing.list_tenants_with_stripe_work, billing.find_tenant_of_stripe_customer TO app_auth;
