-- Closed periods and invoices. What is issued is never changed: a mistake is put right by a credit note.

-- Who an invoice is for. What stood here when an invoice was issued stays on it.
CREATE TABLE billing.profiles (
    tenant_id     uuid PRIMARY KEY REFERENCES platform.tenants (tenant_id),
    legal_name    text NOT NULL CHECK (legal_name <> ''),
    address_lines text[] NOT NULL,
    city          text NOT NULL,
    postcode      text NOT NULL,
    country       text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    -- Its number for value added or sales tax, if it has one.
    tax_id        text,
    -- Who gets invoices by mail; none = the tenant's owners.
    emails        text[] NOT NULL DEFAULT '{}',
    updated_at    timestamptz NOT NULL DEFAULT now()
);
SELECT platform.protect_table('billing.profiles');
GRANT SELECT, INSERT, UPDATE ON billing.profiles TO app_rw;
GRANT SELECT ON billing.profiles TO app_ops;

-- Numbers without gaps, for each series: one is taken by the transaction that issues the invoice, so one that is rolled back gives
-- its number back. Nobody reads the table but through the function.
CREATE TABLE billing.invoice_series (
    series      text PRIMARY KEY,
    last_number bigint NOT NULL CHECK (last_number > 0)
);

CREATE FUNCTION billing.take_invoice_number(wanted_series text) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ INSERT INTO billing.invoice_series AS s (series, last_number) VALUES (wanted_series, 1)
      ON CONFLICT (series) DO UPDATE SET last_number = s.last_number + 1
      RETURNING last_number $$;
REVOKE ALL ON FUNCTION billing.take_invoice_number FROM public;
GRANT EXECUTE ON FUNCTION billing.take_invoice_number TO app_rw;

-- A period that was closed, once.
CREATE TABLE billing.billing_periods (
    tenant_id    uuid NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    -- What held at its end.
    plan         text NOT NULL,
    plan_version integer NOT NULL,
    closed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, period_start),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    CHECK (period_start < period_end)
);
SELECT platform.protect_table('billing.billing_periods');
GRANT SELECT, INSERT ON billing.billing_periods TO app_rw;
GRANT SELECT ON billing.billing_periods TO app_ops;

-- What of a period's usage was billed so far, and at what price: the price at which the rest is billed if more comes in.
CREATE TABLE billing.period_usage (
    tenant_id    uuid NOT NULL,
    period_start timestamptz NOT NULL,
    meter        text NOT NULL,
    billed       bigint NOT NULL CHECK (billed >= 0),
    included     bigint NOT NULL,
    -- A decimal number of the currency's smallest unit; none = more is not billed.
    unit_price   text,
    PRIMARY KEY (tenant_id, period_start, meter),
    FOREIGN KEY (tenant_id, period_start) REFERENCES billing.billing_periods (tenant_id, period_start)
);
SELECT platform.protect_table('billing.period_usage');
GRANT SELECT, INSERT, UPDATE ON billing.period_usage TO app_rw;
GRANT SELECT ON billing.period_usage TO app_ops;

CREATE TABLE billing.invoices (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    number            text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('cycle', 'credit_note')),
    status            text NOT NULL CHECK (status IN ('open', 'paid', 'credited')),
    period_start      timestamptz NOT NULL,
    period_end        timestamptz NOT NULL,
    currency          text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    subtotal_minor    bigint NOT NULL,
    discount_minor    bigint NOT NULL CHECK (discount_minor >= 0),
    tax_minor         bigint NOT NULL,
    total_minor       bigint NOT NULL CHECK (total_minor >= 0),
    issued_at         timestamptz NOT NULL,
    due_at            timestamptz NOT NULL,
    -- Seller and buyer as they were then.
    seller            jsonb NOT NULL CHECK (jsonb_typeof(seller) = 'object'),
    buyer             jsonb NOT NULL CHECK (jsonb_typeof(buyer) = 'object'),
    -- The invoice that a credit note takes back, and why.
    credits_id        uuid,
    reason            text,
    paid_at           timestamptz,
    payment_reference text,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, number),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    FOREIGN KEY (tenant_id, credits_id) REFERENCES billing.invoices (tenant_id, id),
    CHECK (total_minor = subtotal_minor - discount_minor + tax_minor),
    CHECK ((kind = 'credit_note') = (credits_id IS NOT NULL)),
    CHECK ((status = 'paid') = (paid_at IS NOT NULL))
);
-- A period has one invoice, and an invoice is taken back once.
CREATE UNIQUE INDEX invoices_cycle_key ON billing.invoices (tenant_id, period_start) WHERE kind = 'cycle';
CREATE UNIQUE INDEX invoices_credits_key ON billing.invoices (tenant_id, credits_id) WHERE kind = 'credit_note';
SELECT platform.protect_table('billing.invoices');
-- What a payment changes, and nothing else.
GRANT SELECT, INSERT, UPDATE (status, paid_at, payment_reference) ON billing.invoices TO app_rw;
GRANT SELECT ON billing.invoices TO app_ops;

CREATE FUNCTION billing.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'invoices' AND
       to_jsonb(new) - '{status,paid_at,payment_reference}'::text[] = to_jsonb(old) - '{status,paid_at,payment_reference}'::text[] THEN
        RETURN new;
    END IF;
    RAISE EXCEPTION 'what is issued is not changed' USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION billing.refuse_change FROM public;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.invoices FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE TABLE billing.invoice_lines (
    tenant_id    uuid NOT NULL,
    invoice_id   uuid NOT NULL,
    position     integer NOT NULL CHECK (position > 0),
    key          text NOT NULL,
    kind         text NOT NULL,
    description  text NOT NULL,
    quantity     bigint NOT NULL,
    -- A decimal number of the currency's smallest unit.
    unit_price   text NOT NULL,
    amount_minor bigint NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    tax_category text NOT NULL,
    -- In millionths.
    tax_rate     integer NOT NULL CHECK (tax_rate BETWEEN 0 AND 1000000),
    PRIMARY KEY (tenant_id, invoice_id, position),
    UNIQUE (tenant_id, invoice_id, key),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoices (tenant_id, id)
);
SELECT platform.protect_table('billing.invoice_lines');
GRANT SELECT, INSERT ON billing.invoice_lines TO app_rw;
GRANT SELECT ON billing.invoice_lines TO app_ops;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.invoice_lines
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE TABLE billing.invoice_taxes (
    tenant_id    uuid NOT NULL,
    invoice_id   uuid NOT NULL,
    category     text NOT NULL,
    rate         integer NOT NULL CHECK (rate BETWEEN 0 AND 1000000),
    basis_minor  bigint NOT NULL,
    amount_minor bigint NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, category, rate),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoices (tenant_id, id)
);
SELECT platform.protect_table('billing.invoice_taxes');
GRANT SELECT, INSERT ON billing.invoice_taxes TO app_rw;
GRANT SELECT ON billing.invoice_taxes TO app_ops;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.invoice_taxes
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

-- The document, made once: the same bytes for whoever asks.
CREATE TABLE billing.invoice_files (
    tenant_id  uuid NOT NULL,
    invoice_id uuid NOT NULL,
    pdf        bytea NOT NULL,
    sha256     bytea NOT NULL CHECK (length(sha256) = 32),
    made_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoices (tenant_id, id)
);
ALTER TABLE billing.invoice_files ALTER COLUMN pdf SET STORAGE EXTERNAL;
SELECT platform.protect_table('billing.invoice_files');
GRANT SELECT, INSERT ON billing.invoice_files TO app_rw;
GRANT SELECT ON billing.invoice_files TO app_ops;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON billing.invoice_files
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

-- All invoices, for whoever has no tenant: an operator knows only an id, and looks for what is overdue. Nothing personal, and nobody
-- touches it but through the functions.
CREATE TABLE billing.invoice_directory (
    tenant_id  uuid NOT NULL,
    invoice_id uuid NOT NULL,
    number     text NOT NULL,
    status     text NOT NULL,
    due_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id)
);
CREATE UNIQUE INDEX invoice_directory_id_key ON billing.invoice_directory (invoice_id);
CREATE INDEX invoice_directory_status_idx ON billing.invoice_directory (status, due_at, invoice_id);

CREATE FUNCTION billing.enter_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO billing.invoice_directory (tenant_id, invoice_id, number, status, due_at)
    VALUES (new.tenant_id, new.id, new.number, new.status, new.due_at)
    ON CONFLICT (tenant_id, invoice_id) DO UPDATE SET status = excluded.status;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.enter_invoice FROM public;
CREATE TRIGGER enter_invoice AFTER INSERT OR UPDATE OF status ON billing.invoices
    FOR EACH ROW EXECUTE FUNCTION billing.enter_invoice();

CREATE FUNCTION billing.find_invoice_tenant(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT d.tenant_id FROM billing.invoice_directory d WHERE d.invoice_id = wanted $$;
REVOKE ALL ON FUNCTION billing.find_invoice_tenant FROM public;
GRANT EXECUTE ON FUNCTION billing.find_invoice_tenant TO app_auth;

CREATE FUNCTION billing.list_invoice_directory(wanted_status text, after_due timestamptz, after_id uuid, n bigint)
RETURNS TABLE (tenant_id uuid, invoice_id uuid, number text, status text, due_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT d.tenant_id, d.invoice_id, d.number, d.status, d.due_at FROM billing.invoice_directory d
      WHERE d.status = wanted_status AND (d.due_at, d.invoice_id) > (after_due, after_id)
      ORDER BY d.due_at, d.invoice_id LIMIT n $$;
REVOKE ALL ON FUNCTION billing.list_invoice_directory FROM public;
GRANT EXECUTE ON FUNCTION billing.list_invoice_directory TO app_auth;

-- Up to where each tenant's periods are closed, so that those with something to close are found without their rows.
CREATE TABLE billing.close_marks (
    tenant_id    uuid PRIMARY KEY,
    closed_until timestamptz NOT NULL
);
CREATE FUNCTION billing.mark_close() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO billing.close_marks AS m (tenant_id, closed_until) VALUES (new.tenant_id, new.period_end)
    ON CONFLICT (tenant_id) DO UPDATE SET closed_until = greatest(m.closed_until, excluded.closed_until);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.mark_close FROM public;
CREATE TRIGGER mark_close AFTER INSERT ON billing.billing_periods FOR EACH ROW EXECUTE FUNCTION billing.mark_close();

-- Tenants that were there before `until` and whose periods are not closed up to it, in the order of their ids.
CREATE FUNCTION billing.list_tenants_to_close(until timestamptz, after_id uuid, n bigint)
RETURNS TABLE (tenant_id uuid, created_at timestamptz, closed_until timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT d.tenant_id, d.created_at, m.closed_until
      FROM platform.directory d LEFT JOIN billing.close_marks m ON m.tenant_id = d.tenant_id
      WHERE d.created_at < until AND d.tenant_id > after_id AND d.slug <> 'platform'
        AND coalesce(m.closed_until, '-infinity') < until
      ORDER BY d.tenant_id LIMIT n $$;
REVOKE ALL ON FUNCTION billing.list_tenants_to_close FROM public;
GRANT EXECUTE ON FUNCTION billing.list_tenants_to_close TO app_auth;
