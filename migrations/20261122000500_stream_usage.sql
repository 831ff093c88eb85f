-- Streams of usage: what a node asks for all of its streams at once, tickets for browsers, and what may be forgotten.

-- Events are forgotten after some months.
GRANT DELETE ON billing.stream_events TO app_rw;
-- They are read by the hundred, for each tenant that somebody watches.
ALTER TABLE billing.stream_events ADD CONSTRAINT stream_events_size_check CHECK (octet_length(payload::text) <= 8192);

-- Stands in for an access token where a browser cannot send one: on a WebSocket. Each is good once, for seconds; the stream that
-- it opens lives no longer than the token that it was made from.
CREATE TABLE billing.stream_tickets (
    tenant_id        uuid NOT NULL,
    id               uuid NOT NULL,
    user_id          uuid NOT NULL,
    session_id       uuid NOT NULL,
    -- The tenant's epoch that the token was issued in.
    epoch            bigint NOT NULL,
    token_expires_at timestamptz NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at       timestamptz NOT NULL,
    used_at          timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX stream_tickets_expiry_idx ON billing.stream_tickets (tenant_id, expires_at);
SELECT platform.protect_table('billing.stream_tickets');
GRANT SELECT, INSERT, UPDATE (used_at), DELETE ON billing.stream_tickets TO app_rw;

-- What is new for streams: of each tenant its events after a number, and the counters of the present that are newer than known
-- (meter -> revision). Each tenant is read under its own policies, one after the other; the tenant is unset when the function ends.
CREATE FUNCTION billing.poll_streams(tenants uuid[], heads bigint[], known jsonb[], present timestamptz, n bigint)
RETURNS TABLE (tenant_id uuid, is_event boolean, number bigint, name text, payload jsonb, at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
    FOR i IN 1 .. coalesce(array_length(tenants, 1), 0) LOOP
        EXECUTE format('SET LOCAL app.current_tenant_id = %L', tenants[i]);
        RETURN QUERY
            SELECT e.tenant_id, true, e.id, e.kind, e.payload, e.created_at FROM billing.stream_events e
            WHERE e.tenant_id = tenants[i] AND e.id > heads[i] ORDER BY e.id LIMIT n;
        RETURN QUERY
            SELECT c.tenant_id, false, c.revision, c.meter,
                   jsonb_build_object('used', c.used, 'reserved', c.reserved, 'resumed_version', c.resumed_version),
                   c.period_start
            FROM billing.usage_counters c
            WHERE c.tenant_id = tenants[i] AND c.period_start <= present AND present < c.period_end
              AND c.revision > coalesce((known[i] ->> c.meter)::bigint, 0);
    END LOOP;
    SET LOCAL app.current_tenant_id = '';
END $$;
REVOKE ALL ON FUNCTION billing.poll_streams FROM public;
GRANT EXECUTE ON FUNCTION billing.poll_streams TO app_auth;
