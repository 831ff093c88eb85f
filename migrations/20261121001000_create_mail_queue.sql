-- What the mailer must find before it knows a tenant: which mails wait, and until when. Ids and times only; who writes to whom
-- about what is in platform.mail_outbox, under row-level security. One row for each mail that is neither sent nor withdrawn, so
-- mails of one tenant do not wait for each other's transactions.

CREATE TABLE platform.mail_queue (
    tenant_id uuid NOT NULL,
    id        uuid NOT NULL,
    -- When the next attempt is due, or when the mail was given up.
    due_at    timestamptz NOT NULL,
    is_dead   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX mail_queue_due_idx ON platform.mail_queue (due_at) WHERE NOT is_dead;

CREATE FUNCTION platform.queue_mail() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM platform.mail_queue WHERE tenant_id = old.tenant_id AND id = old.id;
    ELSIF new.sent_at IS NOT NULL THEN
        DELETE FROM platform.mail_queue WHERE tenant_id = new.tenant_id AND id = new.id;
    ELSE
        INSERT INTO platform.mail_queue (tenant_id, id, due_at, is_dead)
        VALUES (new.tenant_id, new.id, coalesce(new.dead_at, new.next_attempt_at), new.dead_at IS NOT NULL)
        ON CONFLICT (tenant_id, id) DO UPDATE SET due_at = excluded.due_at, is_dead = excluded.is_dead;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION platform.queue_mail FROM public;
CREATE TRIGGER queue_mail AFTER INSERT OR UPDATE OR DELETE ON platform.mail_outbox
    FOR EACH ROW EXECUTE FUNCTION platform.queue_mail();

-- Tenants with mail that is due, the longest waiting first.
CREATE FUNCTION platform.list_tenants_with_due_mail(n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM platform.mail_queue q WHERE NOT q.is_dead AND q.due_at <= clock_timestamp()
      GROUP BY q.tenant_id ORDER BY min(q.due_at) LIMIT n $$;

-- The operators' list: which mails wait or were given up, in the order of their ids, which is that of their making.
CREATE FUNCTION platform.list_mail_queue(wants_dead boolean, after uuid, n bigint)
RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id, q.id FROM platform.mail_queue q WHERE q.is_dead = wants_dead AND q.id > after ORDER BY q.id LIMIT n $$;

REVOKE ALL ON FUNCTION platform.list_tenants_with_due_mail, platform.list_mail_queue FROM public;
GRANT EXECUTE ON FUNCTION platform.list_tenants_with_due_mail, platform.list_mail_queue TO app_auth;
