-- Envelope encryption: one wrapped data key for each tenant and version. app_rw may add a key and never read one.

CREATE TABLE platform.data_keys (
    tenant_id          uuid NOT NULL,
    version            integer NOT NULL CHECK (version > 0),
    -- The data key, encrypted under the master key; destroyed (null) when the tenant is erased.
    wrapped            bytea,
    master_fingerprint text NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, version),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('platform.data_keys');
GRANT INSERT ON platform.data_keys TO app_rw;
GRANT SELECT, UPDATE (wrapped, master_fingerprint) ON platform.data_keys TO app_secrets;

-- Which master key this installation was begun with, so that a wrong one is refused at start and not at first use.
CREATE TABLE platform.installation (
    only_row           boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    master_fingerprint text NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT ON platform.installation TO app_secrets;
