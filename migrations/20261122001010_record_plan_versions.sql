-- Writing plans down, and finding subscriptions of which something is due.

-- Writes a version of a plan down, unless it was; returns the figures that are on record. Before a plan gets another version, the
-- tenants that have the plan and no subscription of their own are given one to the version that they have had so far: all tenants of
-- an earlier release, when this one first starts.
CREATE FUNCTION billing.record_plan_version(
    wanted_plan text, wanted_version integer, wanted_figures jsonb, wanted_price bigint, wanted_currency text
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    known jsonb;
    held_version integer;
    tenant uuid;
BEGIN
    -- Processes that start at once wait for each other.
    PERFORM pg_advisory_xact_lock(hashtextextended('plan ' || wanted_plan, 0));
    SELECT v.figures INTO known FROM billing.plan_versions v
     WHERE v.plan = wanted_plan AND v.version = wanted_version;
    IF FOUND THEN
        RETURN known;
    END IF;
    SELECT max(v.version) INTO held_version FROM billing.plan_versions v WHERE v.plan = wanted_plan;
    INSERT INTO billing.plan_versions (plan, version, figures, price_minor, currency)
    VALUES (wanted_plan, wanted_version, wanted_figures, wanted_price, wanted_currency);
    held_version := coalesce(held_version, wanted_version);
    FOR tenant IN SELECT d.tenant_id FROM platform.directory d LOOP
        EXECUTE format('SET LOCAL app.current_tenant_id = %L', tenant);
        WITH pinned AS (
            INSERT INTO billing.subscriptions (tenant_id, plan, plan_version, started_at)
            SELECT t.tenant_id, t.plan, held_version, t.created_at FROM platform.tenants t
             WHERE t.tenant_id = tenant AND t.plan = wanted_plan
            ON CONFLICT (tenant_id) DO NOTHING
            RETURNING *
        )
        -- A price is owed from now on, not from the time when there was none.
        INSERT INTO billing.subscription_changes
               (tenant_id, revision, kind, plan, plan_version, add_ons, is_billed, effective_at)
        SELECT p.tenant_id, p.revision, 'begin', p.plan, p.plan_version, p.add_ons, true, now() FROM pinned p;
    END LOOP;
    SET LOCAL app.current_tenant_id = '';
    RETURN wanted_figures;
END $$;

-- What must be found before a tenant is known: of whose subscription something is due, and when.
CREATE TABLE billing.subscription_queue (
    tenant_id uuid PRIMARY KEY,
    due_at    timestamptz NOT NULL
);
CREATE INDEX subscription_queue_due_idx ON billing.subscription_queue (due_at);

CREATE FUNCTION billing.queue_subscription() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    due timestamptz;
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM billing.subscription_queue WHERE tenant_id = old.tenant_id;
        RETURN NULL;
    END IF;
    due := least(new.scheduled_at, CASE WHEN new.is_trial THEN new.trial_end END);
    IF due IS NULL THEN
        DELETE FROM billing.subscription_queue WHERE tenant_id = new.tenant_id;
    ELSE
        INSERT INTO billing.subscription_queue (tenant_id, due_at) VALUES (new.tenant_id, due)
        ON CONFLICT (tenant_id) DO UPDATE SET due_at = excluded.due_at;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.queue_subscription FROM public;
CREATE TRIGGER queue_subscription AFTER INSERT OR UPDATE OR DELETE ON billing.subscriptions
    FOR EACH ROW EXECUTE FUNCTION billing.queue_subscription();

-- Tenants of whose subscription something is due, the longest due first.
CREATE FUNCTION billing.list_tenants_with_due_subscriptions(n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM billing.subscription_queue q WHERE q.due_at <= clock_timestamp()
      ORDER BY q.due_at LIMIT n $$;

REVOKE ALL ON FUNCTION billing.record_plan_version, billing.list_tenants_with_due_subscriptions FROM public;
GRANT EXECUTE ON FUNCTION billing.record_plan_version, billing.list_tenants_with_due_subscriptions TO app_auth;
