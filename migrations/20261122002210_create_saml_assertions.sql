-- SAML assertions that were believed.

-- Each is believed once. A row is kept for as long as the assertion would otherwise be believed.
CREATE TABLE auth.saml_replay (
    tenant_id      uuid NOT NULL,
    connection_id  uuid NOT NULL,
    -- SHA-256 of the assertion's ID, which is as long as its issuer likes.
    assertion_hash bytea NOT NULL,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, assertion_hash),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX saml_replay_expires_idx ON auth.saml_replay (tenant_id, expires_at);
SELECT platform.protect_table('auth.saml_replay');
GRANT SELECT, INSERT, DELETE ON auth.saml_replay TO app_rw;

-- What a believed assertion said, until the browser that brought it comes by a link of this host, with its cookie.
CREATE TABLE auth.saml_arrivals (
    tenant_id     uuid NOT NULL,
    -- SHA-256 of 256 random bits.
    arrival_hash  bytea NOT NULL,
    connection_id uuid NOT NULL,
    -- The flow that it answers; null = nobody asked for it.
    flow_id       uuid,
    -- Where the provider wants the browser to go, of one that nobody asked for.
    relay_state   text CHECK (char_length(relay_state) <= 2000),
    said          jsonb NOT NULL,
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, arrival_hash),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, flow_id) REFERENCES auth.sso_flows (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX saml_arrivals_connection_idx ON auth.saml_arrivals (tenant_id, connection_id);
CREATE INDEX saml_arrivals_flow_idx ON auth.saml_arrivals (tenant_id, flow_id) WHERE flow_id IS NOT NULL;
CREATE INDEX saml_arrivals_expires_idx ON auth.saml_arrivals (tenant_id, expires_at);
SELECT platform.protect_table('auth.saml_arrivals');
GRANT SELECT, INSERT, DELETE ON auth.saml_arrivals TO app_rw;

-- ID of the request that a flow left with; only an answer to that very one is believed.
ALTER TABLE auth.sso_flows ADD COLUMN request_id text CHECK (char_length(request_id) <= 200);
GRANT UPDATE (request_id) ON auth.sso_flows TO app_rw;
