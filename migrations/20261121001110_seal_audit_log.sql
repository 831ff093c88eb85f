-- The audit log's Merkle trees: one for each tenant, over rows that cannot be overtaken by a transaction still running.

-- Which row is which leaf.
CREATE TABLE platform.audit_leaves (
    tenant_id  uuid NOT NULL,
    leaf_index bigint NOT NULL CHECK (leaf_index >= 0),
    audit_id   uuid NOT NULL,
    leaf_hash  bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
    PRIMARY KEY (tenant_id, leaf_index),
    CONSTRAINT audit_leaves_audit_id_key UNIQUE (tenant_id, audit_id)
);
SELECT platform.protect_table('platform.audit_leaves');
GRANT SELECT, INSERT ON platform.audit_leaves TO app_rw;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON platform.audit_leaves
    FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change();

-- What the tenant's key signed, and whatever it takes to verify that and to go on.
CREATE TABLE platform.audit_checkpoints (
    tenant_id uuid NOT NULL,
    tree_size bigint NOT NULL CHECK (tree_size > 0),
    sealed_at timestamptz NOT NULL DEFAULT now(),
    -- The latest time of any row in the tree.
    newest_at timestamptz NOT NULL,
    -- Roots of the tree's whole subtrees, largest first, so that the next rows can be added without reading the old ones.
    peaks     bytea[] NOT NULL,
    -- The signed statement (JWS), and the public key that it was signed with, which stays here when it is rotated away.
    jws       text NOT NULL,
    jwk       jsonb NOT NULL,
    -- Ties both to the tenant's data key, which is not in the database in the clear: otherwise whoever can write here could
    -- sign a new history with a key of their own.
    mac       bytea NOT NULL CHECK (octet_length(mac) = 32),
    PRIMARY KEY (tenant_id, tree_size)
);
SELECT platform.protect_table('platform.audit_checkpoints');
GRANT SELECT, INSERT ON platform.audit_checkpoints TO app_rw;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON platform.audit_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change();

-- Tenants with rows that may not be sealed yet, a row for each statement that wrote to the log: nothing to wait for, where
-- one row for each tenant would make its sign-ins queue.
CREATE TABLE platform.audit_marks (
    tenant_id uuid NOT NULL,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX audit_marks_tenant_idx ON platform.audit_marks (tenant_id, xid);

CREATE FUNCTION platform.mark_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO platform.audit_marks (tenant_id) VALUES (new.tenant_id);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION platform.mark_audit FROM public;
CREATE TRIGGER mark_audit AFTER INSERT ON platform.audit_log
    FOR EACH ROW EXECUTE FUNCTION platform.mark_audit();

CREATE FUNCTION platform.list_unsealed_tenants(n bigint) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT DISTINCT m.tenant_id FROM platform.audit_marks m ORDER BY m.tenant_id LIMIT n $$;

-- Takes away the marks of transactions older than `before`, whose rows are sealed.
CREATE FUNCTION platform.clear_audit_marks(tenant uuid, before xid8) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
AS $$ DELETE FROM platform.audit_marks m WHERE m.tenant_id = tenant AND m.xid < before $$;

REVOKE ALL ON FUNCTION platform.list_unsealed_tenants, platform.clear_audit_marks FROM public;
GRANT EXECUTE ON FUNCTION platform.list_unsealed_tenants, platform.clear_audit_marks TO app_auth;

-- Rows that were written before there were marks.
INSERT INTO platform.audit_marks (tenant_id) SELECT tenant_id FROM platform.directory;

-- The order in which a tenant's trail is read.
CREATE INDEX audit_log_action_idx ON platform.audit_log (tenant_id, action, id);
