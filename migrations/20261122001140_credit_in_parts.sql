-- An invoice may be taken back in parts, and after it was paid: then money goes back.

DROP INDEX billing.invoices_credits_key;
CREATE INDEX invoices_credits_idx ON billing.invoices (tenant_id, credits_id) WHERE kind = 'credit_note';

-- Whatever the program does: no more is taken back than was asked for.
CREATE FUNCTION billing.refuse_over_credit() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    invoiced bigint;
    credited bigint;
BEGIN
    -- Locked, so that two at the same time are counted one after the other.
    SELECT i.total_minor INTO invoiced FROM billing.invoices i
    WHERE i.tenant_id = new.tenant_id AND i.id = new.credits_id FOR NO KEY UPDATE;
    SELECT coalesce(sum(n.total_minor), 0) INTO credited FROM billing.invoices n
    WHERE n.tenant_id = new.tenant_id AND n.credits_id = new.credits_id;
    -- That there is such an invoice is the foreign key's business.
    IF credited + new.total_minor > invoiced THEN
        RAISE EXCEPTION 'more would be taken back than the invoice asks for' USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END $$;
REVOKE ALL ON FUNCTION billing.refuse_over_credit FROM public;
CREATE TRIGGER refuse_over_credit BEFORE INSERT ON billing.invoices
    FOR EACH ROW WHEN (new.kind = 'credit_note') EXECUTE FUNCTION billing.refuse_over_credit();

-- Money that goes back by Stripe because of a credit note.
CREATE TABLE billing.stripe_refunds (
    tenant_id      uuid NOT NULL REFERENCES platform.tenants (tenant_id),
    id             uuid NOT NULL,
    credit_note_id uuid NOT NULL,
    -- What it is taken from: what Stripe collects of the invoice, or a payment of Stripe's at a checkout.
    collection_id  uuid,
    payment_intent text CHECK (char_length(payment_intent) BETWEEN 1 AND 255),
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    is_done        boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, credit_note_id) REFERENCES billing.invoices (tenant_id, id),
    FOREIGN KEY (tenant_id, collection_id) REFERENCES billing.stripe_collections (tenant_id, id)
);
CREATE INDEX stripe_refunds_credit_note_idx ON billing.stripe_refunds (tenant_id, credit_note_id);
CREATE INDEX stripe_refunds_collection_idx ON billing.stripe_refunds (tenant_id, collection_id);
SELECT platform.protect_table('billing.stripe_refunds');
GRANT SELECT, INSERT, UPDATE (is_done) ON billing.stripe_refunds TO app_rw;
GRANT SELECT ON billing.stripe_refunds TO app_ops;

CREATE FUNCTION billing.queue_stripe_refund() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF new.is_done THEN
        DELETE FROM billing.stripe_queue q WHERE q.tenant_id = new.tenant_id AND q.kind = 'collection' AND q.id = new.id;
    ELSE
        INSERT INTO billing.stripe_queue (tenant_id, kind, id, due_at)
        VALUES (new.tenant_id, 'collection', new.id, clock_timestamp()) ON CONFLICT (tenant_id, kind, id) DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.queue_stripe_refund FROM public;
CREATE TRIGGER queue_stripe_refund AFTER INSERT OR UPDATE ON billing.stripe_refunds
    FOR EACH ROW EXECUTE FUNCTION billing.queue_stripe_refund();
