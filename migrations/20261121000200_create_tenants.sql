-- Tenants, the directory that finds them before a tenant is known, and the log of changes that other nodes follow.

CREATE TABLE platform.tenants (
    tenant_id      uuid PRIMARY KEY,
    slug           text NOT NULL CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    region         text NOT NULL,
    plan           text NOT NULL,
    state          text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'deleting')),
    -- Raised by every security switch: tokens with a lower epoch are refused.
    epoch          bigint NOT NULL DEFAULT 1,
    config         jsonb NOT NULL DEFAULT '{}',
    config_version bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    -- When the data of a tenant in state 'deleting' may be erased.
    delete_after   timestamptz,
    CHECK ((state = 'deleting') = (delete_after IS NOT NULL))
);
SELECT platform.protect_table('platform.tenants');
GRANT SELECT, INSERT, UPDATE ON platform.tenants TO app_rw;

-- What must be readable before a tenant is known. No names, no addresses: nothing personal. Nobody but the functions
-- below reads it, and only the trigger below writes it.
CREATE TABLE platform.directory (
    tenant_id      uuid PRIMARY KEY,
    slug           text NOT NULL CONSTRAINT directory_slug_key UNIQUE,
    region         text NOT NULL,
    cell           text NOT NULL DEFAULT 'local',
    state          text NOT NULL,
    epoch          bigint NOT NULL,
    config_version bigint NOT NULL,
    created_at     timestamptz NOT NULL
);

-- One row for each committed change that cached state depends on. Nodes listen for the notification and poll the table
-- as a backstop. Only rare writes go here: NOTIFY serialises commits.
CREATE TABLE platform.config_log (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant_id uuid NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('tenant', 'keys', 'session')),
    -- For 'session': the session that ended.
    subject   uuid,
    version   bigint NOT NULL
);
CREATE INDEX config_log_at_idx ON platform.config_log (at);

-- Announces a change: the row is the truth, the notification only a wake-up that carries nothing, because anybody who may
-- connect can send one.
CREATE FUNCTION platform.log_change(tenant uuid, change_kind text, change_subject uuid, change_version bigint)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    INSERT INTO platform.config_log (tenant_id, kind, subject, version)
    VALUES (tenant, change_kind, change_subject, change_version);
    SELECT pg_notify('businessos_config', '');
$$;
REVOKE ALL ON FUNCTION platform.log_change FROM public;

CREATE FUNCTION platform.publish_tenant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO platform.directory (tenant_id, slug, region, state, epoch, config_version, created_at)
    VALUES (new.tenant_id, new.slug, new.region, new.state, new.epoch, new.config_version, new.created_at)
    ON CONFLICT (tenant_id) DO UPDATE
    SET region = excluded.region, state = excluded.state, epoch = excluded.epoch,
        config_version = excluded.config_version;
    PERFORM platform.log_change(new.tenant_id, 'tenant', NULL, new.config_version);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION platform.publish_tenant FROM public;
CREATE TRIGGER publish_tenant AFTER INSERT OR UPDATE ON platform.tenants
    FOR EACH ROW EXECUTE FUNCTION platform.publish_tenant();

-- The look-ups that happen before a tenant is known, for role app_auth alone.
CREATE FUNCTION platform.find_tenant_by_slug(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT tenant_id FROM platform.directory WHERE slug = wanted $$;

CREATE FUNCTION platform.find_tenant_by_id(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT tenant_id FROM platform.directory WHERE tenant_id = wanted $$;

CREATE FUNCTION platform.list_directory(after text, wanted_state text, n bigint)
RETURNS TABLE (tenant_id uuid, slug text, region text, cell text, state text, config_version bigint, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT d.tenant_id, d.slug, d.region, d.cell, d.state, d.config_version, d.created_at FROM platform.directory d
      WHERE d.slug > after AND (wanted_state IS NULL OR d.state = wanted_state) ORDER BY d.slug LIMIT n $$;

CREATE FUNCTION platform.list_config_changes(since timestamptz)
RETURNS TABLE (seq bigint, at timestamptz, tenant_id uuid, kind text, subject uuid, version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT l.seq, l.at, l.tenant_id, l.kind, l.subject, l.version FROM platform.config_log l
      WHERE l.at >= since ORDER BY l.seq $$;

CREATE FUNCTION platform.prune_config_log(before timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
AS $$ WITH gone AS (DELETE FROM platform.config_log WHERE at < before RETURNING 1) SELECT count(*) FROM gone $$;

REVOKE ALL ON FUNCTION platform.find_tenant_by_slug, platform.find_tenant_by_id, platform.list_directory,
    platform.list_config_changes, platform.prune_config_log FROM public;
GRANT EXECUTE ON FUNCTION platform.find_tenant_by_slug, platform.find_tenant_by_id, platform.list_directory,
    platform.list_config_changes, platform.prune_config_log TO app_auth;
