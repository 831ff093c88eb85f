-- The upkeep of usage events: partitions made ahead and dropped, keys forgotten.

-- Sees to it that this month and the `n_ahead` months after it have partitions; returns how many it made. A partition is
-- made beside the table and then attached, which does not stop those who write to it.
CREATE FUNCTION billing.make_usage_partitions(n_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this_month CONSTANT timestamp := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
    first_day timestamp;
    part text;
    n_made integer := 0;
BEGIN
    IF n_ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'months ahead: found %, expected 0 to 24', n_ahead USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Two processes that start together.
    PERFORM pg_advisory_xact_lock(hashtextextended('billing.make_usage_partitions', 0));
    FOR n IN 0..n_ahead LOOP
        first_day := this_month + make_interval(months => n);
        part := 'usage_events_p' || to_char(first_day, 'YYYYMM');
        CONTINUE WHEN to_regclass(format('billing.%I', part)) IS NOT NULL;
        EXECUTE format('CREATE TABLE billing.%I (LIKE billing.usage_events INCLUDING ALL)', part);
        PERFORM platform.protect_table(format('billing.%I', part)::regclass);
        EXECUTE format('ALTER TABLE billing.usage_events ATTACH PARTITION billing.%I FOR VALUES FROM (%L) TO (%L)',
                       part, first_day || '+00', (first_day + interval '1 month') || '+00');
        n_made := n_made + 1;
    END LOOP;
    RETURN n_made;
END $$;

-- Drops the partitions whose last day lies more than `n_months` months back; returns how many. Waits two seconds for those
-- who write, and else leaves it for the next time.
CREATE FUNCTION billing.drop_usage_partitions(n_months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    first_kept CONSTANT text := 'usage_events_p' || to_char(
        date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') - make_interval(months => n_months), 'YYYYMM');
    part text;
    n_dropped integer := 0;
BEGIN
    IF n_months < 3 THEN
        RAISE EXCEPTION 'months kept: found %, expected at least 3', n_months USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'billing.usage_events'::regclass AND c.relname < first_kept
         ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE billing.%I', part);
        n_dropped := n_dropped + 1;
    END LOOP;
    RETURN n_dropped;
END $$;

-- Deletes up to `n` keys of events that came in before `before`, tenant by tenant; returns how many. Row-level security binds
-- the owner too, so it takes each tenant's place in turn.
CREATE FUNCTION billing.forget_usage_keys(before timestamptz, n bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant uuid;
    n_deleted bigint := 0;
    n_now bigint;
BEGIN
    FOR tenant IN SELECT d.tenant_id FROM platform.directory d ORDER BY d.tenant_id LOOP
        EXECUTE format('SET LOCAL app.current_tenant_id = %L', tenant);
        DELETE FROM billing.usage_dedup u
         WHERE u.tenant_id = tenant AND (u.source, u.key) IN (
               SELECT o.source, o.key FROM billing.usage_dedup o
                WHERE o.tenant_id = tenant AND o.received_at < before
                ORDER BY o.received_at LIMIT n - n_deleted);
        GET DIAGNOSTICS n_now = ROW_COUNT;
        n_deleted := n_deleted + n_now;
        EXIT WHEN n_deleted >= n;
    END LOOP;
    SET LOCAL app.current_tenant_id = '';
    RETURN n_deleted;
END $$;

REVOKE ALL ON FUNCTION billing.make_usage_partitions, billing.drop_usage_partitions, billing.forget_usage_keys FROM public;
GRANT EXECUTE ON FUNCTION billing.make_usage_partitions, billing.drop_usage_partitions, billing.forget_usage_keys TO app_auth;

SELECT billing.make_usage_partitions(3);
