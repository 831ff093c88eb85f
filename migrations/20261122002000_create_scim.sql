-- SCIM 2.0 (RFC 7643, 7644): what a tenant's identity provider says of users and groups.

-- Tokens of the provider. They belong to the tenant; two may be good at once, so that one can replace the other.
CREATE TABLE auth.scim_tokens (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    -- SHA-256 of the whole token, whose secret is random and long.
    secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    -- Rank of who made it: the token may touch whom they might. Only an owner's token touches owners.
    rank         text NOT NULL CHECK (rank IN ('owner', 'admin', 'operator')),
    created_by   uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- Written at most once a minute, so it may be a minute behind.
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   uuid,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
SELECT platform.protect_table('auth.scim_tokens');
GRANT SELECT, INSERT, UPDATE (last_used_at, revoked_at, revoked_by) ON auth.scim_tokens TO app_rw;

-- Tokens are read with the tenant's keys.
CREATE FUNCTION auth.publish_scim_token() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM platform.log_change(new.tenant_id, 'keys', NULL, 0);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION auth.publish_scim_token FROM public;
CREATE TRIGGER publish_new_scim_token AFTER INSERT ON auth.scim_tokens
    FOR EACH ROW EXECUTE FUNCTION auth.publish_scim_token();
CREATE TRIGGER publish_revoked_scim_token AFTER UPDATE OF revoked_at ON auth.scim_tokens
    FOR EACH ROW WHEN (old.revoked_at IS NULL AND new.revoked_at IS NOT NULL)
    EXECUTE FUNCTION auth.publish_scim_token();

-- A user whom the provider switched off. No statement makes such a user active again without taking the mark away, and only SCIM
-- does that.
ALTER TABLE auth.users ADD COLUMN scim_deactivated_at timestamptz;
ALTER TABLE auth.users ADD CONSTRAINT users_scim_deactivated_check
    CHECK (scim_deactivated_at IS NULL OR state <> 'active') NOT VALID;
ALTER TABLE auth.users VALIDATE CONSTRAINT users_scim_deactivated_check;

-- Users that the provider made or took over; other users it does not see.
CREATE TABLE auth.scim_users (
    tenant_id         uuid NOT NULL,
    user_id           uuid NOT NULL,
    user_name         text NOT NULL,
    -- Lower-cased, NFKC, as it is compared.
    user_name_norm    text NOT NULL,
    external_id       text,
    -- Every other attribute that the provider set, with the names of the schemas.
    attributes        jsonb NOT NULL,
    -- Counts changes; the entity tag (RFC 7644 section 3.14).
    version           bigint NOT NULL DEFAULT 1,
    -- The role follows the groups.
    has_group_role    boolean NOT NULL DEFAULT false,
    -- An admin had suspended the user before the provider switched them off: that outlives switching on again.
    was_suspended     boolean NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT scim_users_user_name_key UNIQUE (tenant_id, user_name_norm),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX scim_users_external_id_idx ON auth.scim_users (tenant_id, external_id);
SELECT platform.protect_table('auth.scim_users');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.scim_users TO app_rw;

-- What others change of a user and the provider sees (whether they are active) is another version of the resource.
CREATE FUNCTION auth.count_scim_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE auth.scim_users SET version = version + 1, updated_at = clock_timestamp()
    WHERE tenant_id = new.tenant_id AND user_id = new.id;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION auth.count_scim_version FROM public;
CREATE TRIGGER count_scim_version AFTER UPDATE OF state ON auth.users
    FOR EACH ROW WHEN (old.state IS DISTINCT FROM new.state)
    EXECUTE FUNCTION auth.count_scim_version();

CREATE TABLE auth.scim_groups (
    tenant_id         uuid NOT NULL,
    id                uuid NOT NULL,
    display_name      text NOT NULL,
    display_name_norm text NOT NULL,
    external_id       text,
    -- Role of its members. Owners and operators are not made by membership.
    role              text CHECK (role IN ('admin', 'member', 'billing')),
    version           bigint NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT scim_groups_display_name_key UNIQUE (tenant_id, display_name_norm),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
CREATE INDEX scim_groups_external_id_idx ON auth.scim_groups (tenant_id, external_id);
SELECT platform.protect_table('auth.scim_groups');
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.scim_groups TO app_rw;

CREATE TABLE auth.scim_group_members (
    tenant_id uuid NOT NULL,
    group_id  uuid NOT NULL,
    user_id   uuid NOT NULL,
    PRIMARY KEY (tenant_id, group_id, user_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES auth.scim_groups (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.scim_users (tenant_id, user_id) ON DELETE CASCADE
);
CREATE INDEX scim_group_members_user_idx ON auth.scim_group_members (tenant_id, user_id);
SELECT platform.protect_table('auth.scim_group_members');
GRANT SELECT, INSERT, DELETE ON auth.scim_group_members TO app_rw;

-- Addresses and names of users whom the provider deleted: nobody is made anew under them just because they sign in through it. They
-- are kept as SHA-256, because nothing else of a deleted user is kept either.
CREATE TABLE auth.scim_departures (
    tenant_id   uuid NOT NULL,
    name_hash   bytea NOT NULL CHECK (octet_length(name_hash) = 32),
    departed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, name_hash),
    FOREIGN KEY (tenant_id) REFERENCES platform.tenants (tenant_id)
);
SELECT platform.protect_table('auth.scim_departures');
GRANT SELECT, INSERT, DELETE ON auth.scim_departures TO app_rw;

-- The provider may be who did it.
ALTER TABLE platform.audit_log DROP CONSTRAINT audit_log_actor_kind_check;
ALTER TABLE platform.audit_log ADD CONSTRAINT audit_log_actor_kind_check
    CHECK (actor_kind IN ('anonymous', 'user', 'operator', 'system', 'key', 'scim'));
