-- What is used, counted for each tenant. The history of events and the rollups come in files of their own.

CREATE SCHEMA billing;
GRANT USAGE ON SCHEMA billing TO app_rw, app_auth, app_ops;

-- One row for each meter and period: what the limits are compared with. The row's lock is what makes thresholds cross once
-- and hard limits hold.
CREATE TABLE billing.usage_counters (
    tenant_id       uuid NOT NULL,
    meter           text NOT NULL CHECK (meter ~ '^[a-z][a-z0-9_]{0,63}$'),
    period_start    timestamptz NOT NULL,
    period_end      timestamptz NOT NULL,
    used            bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    -- Set aside for calls under way, so that a hard limit is not passed by calls that run side by side.
    reserved        bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    -- What came in after the period was closed; billed with a later one.
    late            bigint NOT NULL DEFAULT 0,
    n_events        bigint NOT NULL DEFAULT 0 CHECK (n_events >= 0),
    -- For a meter that shows the latest quantity: when that occurred.
    latest_at       timestamptz,
    -- The version of the limits for which an admin lifted the pause.
    resumed_version text,
    -- Grows with each change, so that readers know which of two pictures is newer.
    revision        bigint NOT NULL DEFAULT 1,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, meter, period_start),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    CHECK (period_start < period_end)
) WITH (fillfactor = 50);
SELECT platform.protect_table('billing.usage_counters');
GRANT SELECT, INSERT, UPDATE ON billing.usage_counters TO app_rw;
GRANT SELECT ON billing.usage_counters TO app_ops;

-- A threshold is announced by whoever inserts its row, so exactly once for each version of the limits.
CREATE TABLE billing.usage_alerts (
    tenant_id     uuid NOT NULL,
    meter         text NOT NULL,
    period_start  timestamptz NOT NULL,
    threshold     smallint NOT NULL CHECK (threshold > 0),
    limit_version text NOT NULL,
    used          bigint NOT NULL,
    announced_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, meter, period_start, threshold, limit_version),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('billing.usage_alerts');
GRANT SELECT, INSERT ON billing.usage_alerts TO app_rw;
GRANT SELECT ON billing.usage_alerts TO app_ops;

-- What admins' streams show, in the order of commits: an id is taken under the lock of the tenant's head, so a reader that
-- has seen an id has seen every lower one.
CREATE TABLE billing.stream_heads (
    tenant_id uuid PRIMARY KEY REFERENCES platform.tenants (tenant_id),
    last_id   bigint NOT NULL CHECK (last_id > 0)
) WITH (fillfactor = 50);
SELECT platform.protect_table('billing.stream_heads');
GRANT SELECT, INSERT, UPDATE ON billing.stream_heads TO app_rw;

CREATE TABLE billing.stream_events (
    tenant_id  uuid NOT NULL,
    id         bigint NOT NULL CHECK (id > 0),
    kind       text NOT NULL CHECK (kind ~ '^[a-z]+\.[a-z_]+$'),
    payload    jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('billing.stream_events');
GRANT SELECT, INSERT ON billing.stream_events TO app_rw;
GRANT SELECT ON billing.stream_events TO app_ops;
