-- A customer that was deleted at Stripe by hand is replaced by another one. What Stripe still tells of the old one stays the tenant's.
ALTER TABLE billing.stripe_customers
    -- Customers that the tenant had so far, for the key of the next.
    ADD COLUMN n_customers integer NOT NULL DEFAULT 1,
    ADD COLUMN is_gone     boolean NOT NULL DEFAULT false;
GRANT UPDATE (customer_id, n_customers, is_gone) ON billing.stripe_customers TO app_rw;

ALTER TABLE billing.stripe_customer_directory DROP CONSTRAINT stripe_customer_directory_tenant_id_key;
CREATE INDEX stripe_customer_directory_tenant_idx ON billing.stripe_customer_directory (tenant_id);
CREATE TRIGGER publish_another_stripe_customer AFTER UPDATE OF customer_id ON billing.stripe_customers
    FOR EACH ROW WHEN (new.customer_id <> old.customer_id) EXECUTE FUNCTION billing.publish_stripe_customer();
