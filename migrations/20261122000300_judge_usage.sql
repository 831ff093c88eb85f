-- What was last said of a counter: under which version of the limits, and which state. The row's lock makes it exact, so a change of
-- state is announced once, whoever causes it: usage, another plan, or new figures for the same plan.
ALTER TABLE billing.usage_counters
    ADD COLUMN judged_version text,
    ADD COLUMN judged_state text CHECK (judged_state IN ('ok', 'warn', 'soft', 'throttled', 'paused', 'hard')),
    ADD CONSTRAINT usage_counters_judged_check CHECK ((judged_version IS NULL) = (judged_state IS NULL));

-- 'usage': a meter's state changed, or its pause was lifted. What is counted changes far too often to be logged.
ALTER TABLE platform.config_log DROP CONSTRAINT config_log_kind_check;
ALTER TABLE platform.config_log ADD CONSTRAINT config_log_kind_check
    CHECK (kind IN ('tenant', 'keys', 'session', 'api_key', 'usage'));

CREATE FUNCTION billing.publish_quota() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM platform.log_change(new.tenant_id, 'usage', NULL, 0);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION billing.publish_quota FROM public;
-- A statement that only counts names neither column, and fires nothing.
CREATE TRIGGER publish_quota AFTER UPDATE OF judged_state, resumed_version ON billing.usage_counters
    FOR EACH ROW WHEN (coalesce(old.judged_state, 'ok') <> coalesce(new.judged_state, 'ok')
                       OR old.resumed_version IS DISTINCT FROM new.resumed_version)
    EXECUTE FUNCTION billing.publish_quota();
