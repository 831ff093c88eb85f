-- Sessions may live outside the database. The end of those is announced to every node by this function, in the transaction of
-- its audit row, as a trigger does for auth.sessions. The tenant is the transaction's own: nobody can announce for another one.

CREATE FUNCTION auth.announce_ended_sessions(ended uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT platform.log_change(current_setting('app.current_tenant_id')::uuid, 'session', id, 0)
    FROM unnest(ended) AS id;
$$;
REVOKE ALL ON FUNCTION auth.announce_ended_sessions FROM public;
GRANT EXECUTE ON FUNCTION auth.announce_ended_sessions TO app_rw;
