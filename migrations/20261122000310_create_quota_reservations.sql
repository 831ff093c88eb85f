-- Usage that is set aside for calls under way, so that a hard limit holds for calls that run side by side. The sums are in
-- billing.usage_counters.reserved; a row goes when its call is counted or given up, or when its time is over.

CREATE TABLE billing.quota_reservations (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    meter        text NOT NULL,
    period_start timestamptz NOT NULL,
    quantity     bigint NOT NULL CHECK (quantity >= 0),
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    FOREIGN KEY (tenant_id, meter, period_start)
        REFERENCES billing.usage_counters (tenant_id, meter, period_start)
);
CREATE INDEX quota_reservations_expiry_idx ON billing.quota_reservations (tenant_id, expires_at);
SELECT platform.protect_table('billing.quota_reservations');
GRANT SELECT, INSERT, DELETE ON billing.quota_reservations TO app_rw;

-- What the sweeper must find before it knows a tenant: which reservations there are, and until when. What they are for is in
-- billing.quota_reservations, under row-level security.
CREATE TABLE billing.reservation_queue (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX reservation_queue_expiry_idx ON billing.reservation_queue (expires_at);

CREATE FUNCTION billing.queue_reservation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM billing.reservation_queue WHERE tenant_id = old.tenant_id AND id = old.id;
    ELSE
        INSERT INTO billing.reservation_queue (tenant_id, id, expires_at)
        VALUES (new.tenant_id, new.id, new.expires_at)
        ON CONFLICT (tenant_id, id) DO UPDATE SET expires_at = excluded.expires_at;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.queue_reservation FROM public;
CREATE TRIGGER queue_reservation AFTER INSERT OR UPDATE OR DELETE ON billing.quota_reservations
    FOR EACH ROW EXECUTE FUNCTION billing.queue_reservation();

-- Tenants with reservations whose time is over, the longest past first.
CREATE FUNCTION billing.list_tenants_with_expired_reservations(n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM billing.reservation_queue q WHERE q.expires_at <= clock_timestamp()
      GROUP BY q.tenant_id ORDER BY min(q.expires_at) LIMIT n $$;
REVOKE ALL ON FUNCTION billing.list_tenants_with_expired_reservations FROM public;
GRANT EXECUTE ON FUNCTION billing.list_tenants_with_expired_reservations TO app_auth;
