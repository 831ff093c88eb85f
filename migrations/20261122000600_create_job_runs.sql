-- Jobs that any number of processes may start, and one does. A run is a row; whoever inserts it has the run. Nothing here
-- belongs to a tenant.

CREATE TABLE platform.job_runs (
    job           text NOT NULL CHECK (job ~ '^[a-z][a-z0-9_]{0,63}$'),
    -- The slot of the schedule; of a run by hand, the moment it was asked for.
    scheduled_for timestamptz NOT NULL,
    is_manual     boolean NOT NULL,
    -- The process that has or had it.
    node          text NOT NULL CHECK (char_length(node) BETWEEN 1 AND 200),
    -- Grows with every run of the job, so that a process whose lease ran out cannot speak for its successor.
    fence         bigint NOT NULL CHECK (fence > 0),
    lease_until   timestamptz NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    -- lost: its process died, or could not renew its lease.
    outcome       text NOT NULL DEFAULT 'running' CHECK (outcome IN ('running', 'done', 'failed', 'lost')),
    -- How much it did; of a failed one, why.
    n_done        bigint,
    detail        text CHECK (char_length(detail) <= 500),
    PRIMARY KEY (job, scheduled_for),
    CHECK ((outcome = 'running') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX job_runs_fence_key ON platform.job_runs (job, fence);
-- One run of a job at a time, whatever else goes wrong.
CREATE UNIQUE INDEX job_runs_running_key ON platform.job_runs (job) WHERE outcome = 'running';

-- Gives the caller a slot of a job, unless it has been taken or another run of the job is alive; returns the fence. A slot
-- whose process died may be taken again.
CREATE FUNCTION platform.claim_job(
    wanted_job text, slot timestamptz, wants_manual boolean, by_node text, lease_s double precision
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    next_fence bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('job ' || wanted_job, 0));
    UPDATE platform.job_runs SET outcome = 'lost', finished_at = clock_timestamp()
     WHERE job = wanted_job AND outcome = 'running' AND lease_until <= clock_timestamp();
    IF EXISTS (SELECT FROM platform.job_runs WHERE job = wanted_job AND outcome = 'running') THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(max(fence), 0) + 1 INTO next_fence FROM platform.job_runs WHERE job = wanted_job;
    INSERT INTO platform.job_runs AS runs (job, scheduled_for, is_manual, node, fence, lease_until)
    VALUES (wanted_job, slot, wants_manual, by_node, next_fence, clock_timestamp() + make_interval(secs => lease_s))
    ON CONFLICT (job, scheduled_for) DO UPDATE
        SET node = excluded.node, fence = excluded.fence, lease_until = excluded.lease_until,
            started_at = clock_timestamp(), finished_at = NULL, outcome = 'running'
        WHERE runs.outcome = 'lost'
    RETURNING fence INTO next_fence;
    RETURN next_fence;
END $$;

-- Says that the holder lives; false if it has lost the run.
CREATE FUNCTION platform.renew_job(wanted_job text, held_fence bigint, lease_s double precision) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH renewed AS (
        UPDATE platform.job_runs SET lease_until = clock_timestamp() + make_interval(secs => lease_s)
         WHERE job = wanted_job AND fence = held_fence AND outcome = 'running' RETURNING 1)
    SELECT EXISTS (SELECT FROM renewed) $$;

-- Writes down how a run ended; false if the holder had lost it.
CREATE FUNCTION platform.finish_job(wanted_job text, held_fence bigint, how text, n bigint, said text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH finished AS (
        UPDATE platform.job_runs
           SET outcome = how, n_done = n, detail = left(said, 500), finished_at = clock_timestamp()
         WHERE job = wanted_job AND fence = held_fence AND outcome = 'running' RETURNING 1)
    SELECT EXISTS (SELECT FROM finished) $$;

-- The latest run of each job, and when one last succeeded.
CREATE FUNCTION platform.list_job_runs() RETURNS TABLE (
    job text, scheduled_for timestamptz, is_manual boolean, node text, lease_until timestamptz, started_at timestamptz,
    finished_at timestamptz, outcome text, n_done bigint, detail text, last_done_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT DISTINCT ON (r.job) r.job, r.scheduled_for, r.is_manual, r.node, r.lease_until, r.started_at, r.finished_at,
           CASE WHEN r.outcome = 'running' AND r.lease_until <= clock_timestamp() THEN 'lost' ELSE r.outcome END,
           r.n_done, r.detail,
           (SELECT max(d.finished_at) FROM platform.job_runs d WHERE d.job = r.job AND d.outcome = 'done')
      FROM platform.job_runs r ORDER BY r.job, r.fence DESC $$;

-- Deletes runs that ended long ago, but each job's latest and latest successful one.
CREATE FUNCTION platform.forget_job_runs(older_than interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH kept AS (
        SELECT job, max(fence) AS latest, max(fence) FILTER (WHERE outcome = 'done') AS latest_done
          FROM platform.job_runs GROUP BY job),
    deleted AS (
        DELETE FROM platform.job_runs r USING kept k
         WHERE k.job = r.job AND r.finished_at < clock_timestamp() - older_than
           AND r.fence <> k.latest AND r.fence IS DISTINCT FROM k.latest_done RETURNING 1)
    SELECT count(*) FROM deleted $$;

REVOKE ALL ON FUNCTION platform.claim_job, platform.renew_job, platform.finish_job, platform.list_job_runs,
    platform.forget_job_runs FROM public;
GRANT EXECUTE ON FUNCTION platform.claim_job, platform.renew_job, platform.finish_job, platform.list_job_runs,
    platform.forget_job_runs TO app_auth;
