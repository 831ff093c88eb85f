-- Domains of e-mail addresses that tenants claim, and prove by a record in DNS.

CREATE TABLE auth.email_domains (
    tenant_id     uuid NOT NULL,
    domain        text NOT NULL CHECK (domain ~ '^[a-z0-9.-]{3,253}$'),
    -- What the TXT record must say. No secret: everybody can read it in DNS.
    challenge     text NOT NULL,
    claimed_at    timestamptz NOT NULL DEFAULT now(),
    -- A claim that is not proved by then is forgotten.
    expires_at    timestamptz NOT NULL,
    verified_at   timestamptz,
    checked_at    timestamptz,
    -- Looks in a row, a day apart, that did not find the record.
    n_missed      integer NOT NULL DEFAULT 0,
    -- Where people of this domain sign in.
    connection_id uuid,
    PRIMARY KEY (tenant_id, domain),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES auth.sso_connections (tenant_id, id)
        ON DELETE SET NULL (connection_id),
    CHECK (connection_id IS NULL OR verified_at IS NOT NULL)
);
CREATE INDEX email_domains_connection_idx ON auth.email_domains (tenant_id, connection_id) WHERE connection_id IS NOT NULL;
SELECT platform.protect_table('auth.email_domains');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.email_domains TO app_rw;

-- A domain is one tenant's. Written by the trigger below and read by nobody: its unique key is all that it is for.
CREATE TABLE auth.verified_domains (
    tenant_id uuid NOT NULL,
    domain    text NOT NULL CONSTRAINT verified_domains_domain_key UNIQUE,
    PRIMARY KEY (tenant_id, domain)
);

CREATE FUNCTION auth.publish_domain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF tg_op <> 'INSERT' AND old.verified_at IS NOT NULL AND (tg_op = 'DELETE' OR new.verified_at IS NULL) THEN
        DELETE FROM auth.verified_domains WHERE tenant_id = old.tenant_id AND domain = old.domain;
    ELSIF tg_op <> 'DELETE' AND new.verified_at IS NOT NULL AND (tg_op = 'INSERT' OR old.verified_at IS NULL) THEN
        INSERT INTO auth.verified_domains (tenant_id, domain) VALUES (new.tenant_id, new.domain);
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION auth.publish_domain FROM public;
CREATE TRIGGER publish_domain AFTER INSERT OR UPDATE OR DELETE ON auth.email_domains
    FOR EACH ROW EXECUTE FUNCTION auth.publish_domain();
