-- Mail that was sent waits in the queue to be forgotten. The function was last written without its condition on that, and offered
-- tenants with nothing to send.
CREATE OR REPLACE FUNCTION platform.list_tenants_with_due_mail(n bigint) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT q.tenant_id FROM platform.mail_queue q WHERE NOT q.is_dead AND NOT q.is_sent AND q.due_at <= clock_timestamp()
      GROUP BY q.tenant_id ORDER BY random() LIMIT n $$;
