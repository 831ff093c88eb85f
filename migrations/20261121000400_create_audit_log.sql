-- Who did what to what, when, from where, and how it ended. Rows are added and read, never changed: by grants, and by a
-- trigger that stops even the owner.

CREATE TABLE platform.audit_log (
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The writing transaction: the sealer takes rows only when every older transaction has ended.
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    actor_kind  text NOT NULL CHECK (actor_kind IN ('anonymous', 'user', 'operator', 'system')),
    actor_id    uuid,
    action      text NOT NULL,
    target_kind text NOT NULL,
    target_id   text,
    outcome     text NOT NULL CHECK (outcome IN ('success', 'failure', 'denied')),
    code        text,
    source_ip   inet,
    user_agent  text,
    request_id  text,
    -- What changed, with secrets left out.
    detail      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX audit_log_at_idx ON platform.audit_log (tenant_id, at);
SELECT platform.protect_table('platform.audit_log');
GRANT SELECT, INSERT ON platform.audit_log TO app_rw;

CREATE FUNCTION platform.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION platform.refuse_change FROM public;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON platform.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change();
