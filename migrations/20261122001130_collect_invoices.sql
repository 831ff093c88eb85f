-- Stripe collects what our invoices say.

-- What is bought at a checkout, as it was shown: what is paid is what was shown.
ALTER TABLE billing.stripe_checkouts ADD COLUMN bought jsonb CHECK (jsonb_typeof(bought) = 'object');

-- An invoice of what was paid beside the months' ends: at a checkout, or at a trial's end.
ALTER TABLE billing.invoices DROP CONSTRAINT invoices_kind_check;
ALTER TABLE billing.invoices ADD CONSTRAINT invoices_kind_check CHECK (kind IN ('cycle', 'interim', 'credit_note'));

-- Where the tenant is at Stripe stands with its customer, so that Stripe's side changes no subscription of ours.
ALTER TABLE billing.subscriptions DROP COLUMN stripe_customer_id, DROP COLUMN stripe_subscription_id;
ALTER TABLE billing.stripe_customers
    -- What is charged: a card that was used at a checkout; none = nothing is collected.
    ADD COLUMN payment_method    text CHECK (char_length(payment_method) BETWEEN 1 AND 255),
    -- Since when: what was issued before is paid as it was agreed then.
    ADD COLUMN charged_since     timestamptz,
    -- Stripe's subscription, while there is one.
    ADD COLUMN subscription_id   text CHECK (char_length(subscription_id) BETWEEN 1 AND 255),
    -- Subscriptions that were begun so far, for the key of the next.
    ADD COLUMN n_subscriptions   integer NOT NULL DEFAULT 0,
    -- Whether we have Stripe's end with its period: if it says so and we did not, somebody ended it there.
    ADD COLUMN is_ending         boolean NOT NULL DEFAULT false,
    -- When Stripe's subscription was last as ours.
    ADD COLUMN followed_at       timestamptz;
GRANT UPDATE (payment_method, charged_since, subscription_id, n_subscriptions, is_ending, followed_at) ON billing.stripe_customers TO app_rw;

-- What Stripe collects of which invoice of ours.
CREATE TABLE billing.stripe_collections (
    tenant_id         uuid NOT NULL REFERENCES platform.tenants (tenant_id),
    id                uuid NOT NULL,
    -- Ours; none = nothing is owed, and what Stripe has drafted is to come to nothing.
    invoice_id        uuid,
    -- Stripe's; none = one is still to be made.
    stripe_invoice_id text CHECK (char_length(stripe_invoice_id) BETWEEN 1 AND 255),
    -- What stood on Stripe's before any line of ours.
    base_minor        bigint NOT NULL,
    -- What of ours it collects.
    amount_minor      bigint NOT NULL CHECK (amount_minor >= 0),
    -- What it collects beyond that, and is to be given back.
    excess_minor      bigint NOT NULL DEFAULT 0 CHECK (excess_minor >= 0),
    -- wanted: Stripe's invoice is to be made; drafted: our lines are to be put on it; placed: it is owed; paid; withdrawn: ours was
    -- taken back, and so is Stripe's.
    state             text NOT NULL CHECK (state IN ('wanted', 'drafted', 'placed', 'paid', 'withdrawn')),
    -- Ours was taken back: nothing is to be collected for it.
    is_withdrawn      boolean NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, stripe_invoice_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoices (tenant_id, id),
    CHECK (state <> 'wanted' OR stripe_invoice_id IS NULL)
);
CREATE INDEX stripe_collections_invoice_idx ON billing.stripe_collections (tenant_id, invoice_id);
SELECT platform.protect_table('billing.stripe_collections');
GRANT SELECT, INSERT, UPDATE ON billing.stripe_collections TO app_rw;
GRANT SELECT ON billing.stripe_collections TO app_ops;

-- Who has work that waits: also subscriptions that Stripe's is to follow, invoices that are to be collected, and collections that
-- are not placed yet.
ALTER TABLE billing.stripe_queue DROP CONSTRAINT stripe_queue_kind_check;
ALTER TABLE billing.stripe_queue ADD CONSTRAINT stripe_queue_kind_check
    CHECK (kind IN ('request', 'payment_event', 'subscription', 'invoice', 'collection', 'dispute'));
ALTER TABLE billing.stripe_customer_directory ADD COLUMN is_chargeable boolean NOT NULL DEFAULT false;

CREATE FUNCTION billing.queue_stripe_follow() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
    SELECT d.tenant_id, 'subscription', d.tenant_id, clock_timestamp()
    FROM billing.stripe_customer_directory d WHERE d.tenant_id = new.tenant_id AND d.is_chargeable
    ON CONFLICT (tenant_id, kind, id) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_stripe_follow AFTER INSERT OR UPDATE ON billing.subscriptions
    FOR EACH ROW EXECUTE FUNCTION billing.queue_stripe_follow();

-- With another card or another subscription at Stripe there is something to follow; having followed, there is not.
CREATE FUNCTION billing.queue_stripe_customer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE billing.stripe_customer_directory d SET is_chargeable = new.payment_method IS NOT NULL
    WHERE d.tenant_id = new.tenant_id;
    IF new.followed_at IS NOT DISTINCT FROM old.followed_at THEN
        INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
        VALUES (new.tenant_id, 'subscription', new.tenant_id, clock_timestamp()) ON CONFLICT (tenant_id, kind, id) DO NOTHING;
    ELSE
        DELETE FROM billing.stripe_queue q
        WHERE q.tenant_id = new.tenant_id AND q.kind = 'subscription' AND q.id = new.tenant_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_stripe_customer AFTER UPDATE ON billing.stripe_customers
    FOR EACH ROW EXECUTE FUNCTION billing.queue_stripe_customer();

-- An open invoice of a tenant whose card is known is to be collected; a minute later, because whoever issued it may be about to.
CREATE FUNCTION billing.queue_stripe_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF new.status = 'open' THEN
        INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
        SELECT d.tenant_id, 'invoice', new.id, clock_timestamp() + interval '1 minute'
        FROM billing.stripe_customer_directory d WHERE d.tenant_id = new.tenant_id AND d.is_chargeable
        ON CONFLICT (tenant_id, kind, id) DO NOTHING;
    ELSE
        DELETE FROM billing.stripe_queue q WHERE q.tenant_id = new.tenant_id AND q.kind = 'invoice' AND q.id = new.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_stripe_invoice AFTER INSERT OR UPDATE OF status ON billing.invoices
    FOR EACH ROW EXECUTE FUNCTION billing.queue_stripe_invoice();

CREATE FUNCTION billing.queue_stripe_collection() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    DELETE FROM billing.stripe_queue q
    WHERE q.tenant_id = new.tenant_id AND q.kind = 'invoice' AND q.id = new.invoice_id;
    IF new.state IN ('wanted', 'drafted') OR new.is_withdrawn AND new.state <> 'withdrawn' OR new.excess_minor > 0 THEN
        INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
        VALUES (new.tenant_id, 'collection', new.id, clock_timestamp()) ON CONFLICT (tenant_id, kind, id) DO NOTHING;
    ELSE
        DELETE FROM billing.stripe_queue q WHERE q.tenant_id = new.tenant_id AND q.kind = 'collection' AND q.id = new.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_stripe_collection AFTER INSERT OR UPDATE ON billing.stripe_collections
    FOR EACH ROW EXECUTE FUNCTION billing.queue_stripe_collection();

-- What of a tenant is still due after somebody has looked after it is put off, so that it keeps nobody else waiting.
CREATE FUNCTION billing.put_off_stripe_work(wanted uuid, looked_at timestamptz) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ UPDATE billing.stripe_queue q SET due_at = clock_timestamp() + interval '1 minute'
      WHERE q.tenant_id = wanted AND q.kind IN ('payment_event', 'subscription', 'invoice', 'collection') AND q.due_at <= looked_at $$;
REVOKE ALL ON FUNCTION billing.put_off_stripe_work FROM public;
GRANT EXECUTE ON FUNCTION billing.put_off_stripe_work TO app_auth;

CREATE FUNCTION billing.queue_stripe_dispute() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF new.kind = 'dispute_opened' THEN
        INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
        VALUES (new.tenant_id, 'dispute', md5(new.object_id)::uuid, new.occurred_at) ON CONFLICT (tenant_id, kind, id) DO NOTHING;
    ELSIF new.kind = 'dispute_closed' AND new.detail->>'status' <> 'lost' THEN
        DELETE FROM billing.stripe_queue q
        WHERE q.tenant_id = new.tenant_id AND q.kind = 'dispute' AND q.id = md5(new.object_id)::uuid;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_stripe_dispute AFTER INSERT ON billing.payment_events
    FOR EACH ROW EXECUTE FUNCTION billing.queue_stripe_dispute();

REVOKE ALL ON FUNCTION billing.queue_stripe_follow, billing.queue_stripe_customer, billing.queue_stripe_invoice,
    billing.queue_stripe_collection, billing.queue_stripe_dispute FROM public;
