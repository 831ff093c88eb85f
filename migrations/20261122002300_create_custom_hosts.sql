-- Hosts that tenants bring: claimed, proved by a record in DNS, and then another name of the tenant in the gateway.

CREATE TABLE platform.custom_hosts (
    tenant_id   uuid NOT NULL,
    -- As requests name it: lower case, ASCII, no port, no dot at the end.
    host        text NOT NULL CHECK (host ~ '^[a-z0-9.-]{4,231}$'),
    -- What the TXT record must say. No secret: everybody can read it in DNS.
    challenge   text NOT NULL,
    claimed_at  timestamptz NOT NULL DEFAULT now(),
    -- A claim that is not proved by then is forgotten.
    expires_at  timestamptz NOT NULL,
    verified_at timestamptz,
    checked_at  timestamptz,
    -- Looks in a row, a day apart, that did not find the record.
    n_missed    integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, host),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('platform.custom_hosts');
GRANT SELECT, INSERT, UPDATE, DELETE ON platform.custom_hosts TO app_rw;

-- Which tenant a host means, before a tenant is known. Written by the trigger below, read by the function below.
CREATE TABLE platform.verified_hosts (
    tenant_id uuid NOT NULL,
    host      text NOT NULL CONSTRAINT verified_hosts_host_key UNIQUE,
    PRIMARY KEY (tenant_id, host)
);

ALTER TABLE platform.config_log DROP CONSTRAINT config_log_kind_check;
ALTER TABLE platform.config_log ADD CONSTRAINT config_log_kind_check
    CHECK (kind IN ('tenant', 'keys', 'session', 'api_key', 'usage', 'hosts'));

CREATE FUNCTION platform.publish_host() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF tg_op <> 'INSERT' AND old.verified_at IS NOT NULL AND (tg_op = 'DELETE' OR new.verified_at IS NULL) THEN
        DELETE FROM platform.verified_hosts WHERE tenant_id = old.tenant_id AND host = old.host;
        PERFORM platform.log_change(old.tenant_id, 'hosts', NULL, 0);
    ELSIF tg_op <> 'DELETE' AND new.verified_at IS NOT NULL AND (tg_op = 'INSERT' OR old.verified_at IS NULL) THEN
        INSERT INTO platform.verified_hosts (tenant_id, host) VALUES (new.tenant_id, new.host);
        PERFORM platform.log_change(new.tenant_id, 'hosts', NULL, 0);
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION platform.publish_host FROM public;
CREATE TRIGGER publish_host AFTER INSERT OR UPDATE OR DELETE ON platform.custom_hosts
    FOR EACH ROW EXECUTE FUNCTION platform.publish_host();

CREATE FUNCTION platform.find_tenant_by_host(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT tenant_id FROM platform.verified_hosts WHERE host = wanted $$;
REVOKE ALL ON FUNCTION platform.find_tenant_by_host FROM public;
GRANT EXECUTE ON FUNCTION platform.find_tenant_by_host TO app_auth;
