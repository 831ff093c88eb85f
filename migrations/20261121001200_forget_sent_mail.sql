-- Sent mail is kept for a week and then deleted by the mailer, which finds the tenants here: a sent mail stays in the queue, due at
-- the time from which it may go.

ALTER TABLE platform.mail_queue ADD COLUMN is_sent boolean NOT NULL DEFAULT false;
DROP INDEX platform.mail_queue_due_idx;
CREATE INDEX mail_queue_due_idx ON platform.mail_queue (due_at) WHERE NOT is_dead AND NOT is_sent;
CREATE INDEX mail_queue_sent_idx ON platform.mail_queue (due_at) WHERE is_sent;
CREATE INDEX mail_outbox_sent_idx ON platform.mail_outbox (tenant_id, sent_at) WHERE sent_at IS NOT NULL;

CREATE OR REPLACE FUNCTION platform.queue_mail() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM platform.mail_queue WHERE tenant_id = old.tenant_id AND id = old.id;
    ELSE
        INSERT INTO platform.mail_queue (tenant_id, id, due_at, is_dead, is_sent)
        VALUES (new.tenant_id, new.id,
                coalesce(new.sent_at + interval '7 days', new.dead_at, new.next_attempt_at),
                new.dead_at IS NOT NULL, new.sent_at IS NOT NULL)
        ON CONFLICT (tenant_id, id) DO UPDATE
        SET due_at = excluded.due_at, is_dead = excluded.is_dead, is_sent = excluded.is_sent;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION platform.list_tenants_with_due_mail(n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM platform.mail_queue q WHERE NOT q.is_dead AND NOT q.is_sent AND q.due_at <= clock_timestamp()
      GROUP BY q.tenant_id ORDER BY min(q.due_at) LIMIT n $$;

CREATE OR REPLACE FUNCTION platform.list_mail_queue(wants_dead boolean, after uuid, n bigint)
RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id, q.id FROM platform.mail_queue q
      WHERE q.is_dead = wants_dead AND NOT q.is_sent AND q.id > after ORDER BY q.id LIMIT n $$;

-- Tenants with mail that was sent over a week ago, the oldest first.
CREATE FUNCTION platform.list_tenants_with_old_mail(n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM platform.mail_queue q WHERE q.is_sent AND q.due_at <= clock_timestamp()
      GROUP BY q.tenant_id ORDER BY min(q.due_at) LIMIT n $$;
REVOKE ALL ON FUNCTION platform.list_tenants_with_old_mail FROM public;
GRANT EXECUTE ON FUNCTION platform.list_tenants_with_old_mail TO app_auth;
