-- What was used, event by event, and by the hour.

-- Says which events were taken in. Not partitioned by time: a unique key of such a table has the time in it, and the same
-- event with another time would be taken twice. No foreign key, here and for the events: the counter that the same
-- transaction changes has one, and a check for each event would cost as much as the event.
CREATE TABLE billing.usage_dedup (
    tenant_id    uuid NOT NULL,
    source       text NOT NULL,
    -- The reporter's name for the event.
    key          text NOT NULL,
    -- SHA-256 of what the reporter said.
    payload_hash bytea NOT NULL CHECK (octet_length(payload_hash) = 32),
    event_id     uuid NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, source, key)
);
-- In the order of arrival, so that its right edge stays in memory.
CREATE INDEX usage_dedup_received_idx ON billing.usage_dedup (tenant_id, received_at);
SELECT platform.protect_table('billing.usage_dedup');
GRANT SELECT, INSERT ON billing.usage_dedup TO app_rw;
GRANT SELECT ON billing.usage_dedup TO app_ops;

CREATE TABLE billing.usage_events (
    tenant_id   uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    id          uuid NOT NULL,
    source      text NOT NULL,
    key         text NOT NULL,
    meter       text NOT NULL,
    quantity    bigint NOT NULL CHECK (quantity >= 0),
    occurred_at timestamptz NOT NULL,
    dims        jsonb CHECK (dims IS NULL OR jsonb_typeof(dims) = 'object'),
    -- Came in after its period was closed.
    is_late     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, received_at, id)
) PARTITION BY RANGE (received_at);
SELECT platform.protect_table('billing.usage_events');
GRANT SELECT, INSERT ON billing.usage_events TO app_rw;
GRANT SELECT ON billing.usage_events TO app_ops;

-- By the hour (UTC) in which it occurred. The quantity is what the meter's aggregation makes of the hour's events; for
-- different values, those that no earlier event of the period had.
CREATE TABLE billing.usage_hours (
    tenant_id uuid NOT NULL,
    meter     text NOT NULL,
    hour      timestamptz NOT NULL,
    quantity  bigint NOT NULL,
    n_events  bigint NOT NULL CHECK (n_events >= 0),
    -- For a meter that shows the latest quantity: when that occurred.
    latest_at timestamptz,
    PRIMARY KEY (tenant_id, meter, hour),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
) WITH (fillfactor = 70);
SELECT platform.protect_table('billing.usage_hours');
GRANT SELECT, INSERT, UPDATE ON billing.usage_hours TO app_rw;
GRANT SELECT ON billing.usage_hours TO app_ops;

-- Values that a meter of different values has seen in a period, as SHA-256.
CREATE TABLE billing.usage_values (
    tenant_id    uuid NOT NULL,
    meter        text NOT NULL,
    period_start timestamptz NOT NULL,
    value_hash   bytea NOT NULL CHECK (octet_length(value_hash) = 32),
    PRIMARY KEY (tenant_id, meter, period_start, value_hash),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('billing.usage_values');
GRANT SELECT, INSERT ON billing.usage_values TO app_rw;
GRANT SELECT ON billing.usage_values TO app_ops;
