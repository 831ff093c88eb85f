"""Usage events: how many a second are taken in over HTTP, against the same writes as bare SQL and against COPY, and how long an answer takes."""

import json
import re
import threading
import time
import uuid

from .product import Client
from .proc import StepFailed
from .proc import run as run_tool
from .session import median, say

BATCH = 1000  # events of a call, the most that one may have
SMALL = 100  # events of a call where latency is measured
CLIENTS = 6
PACED_CLIENTS = 30  # so many that one slow answer does not hold up the calls that are due after it
TENANTS = 3  # a tenant's events of one meter are counted by one transaction at a time
METER = "connector_calls"
PATH = "/billing/usage/events"

# What the server's transaction does for a batch, without its answers: keys, events, an hour, a counter.
SCRIPT = f"""
SELECT tenant_id AS tenant FROM platform.tenants WHERE slug LIKE 'bench-%' ORDER BY slug OFFSET :client_id LIMIT 1 \\gset
BEGIN;
SET LOCAL ROLE app_rw;
SET LOCAL app.current_tenant_id = ':tenant';
INSERT INTO billing.usage_counters AS c (tenant_id, meter, period_start, period_end, revision)
VALUES (':tenant', '{METER}', date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + interval '1 month', 0)
ON CONFLICT (tenant_id, meter, period_start) DO UPDATE SET updated_at = c.updated_at;
WITH given AS MATERIALIZED (
    SELECT * FROM unnest((SELECT array_agg(gen_random_uuid()) FROM generate_series(1, {BATCH}))) AS g (id)
), fresh AS (
    INSERT INTO billing.usage_dedup (tenant_id, source, key, payload_hash, event_id)
    SELECT ':tenant', 'api', id::text, sha256('x'), id FROM given
    ON CONFLICT (tenant_id, source, key) DO NOTHING RETURNING event_id
), events AS (
    INSERT INTO billing.usage_events (tenant_id, id, source, key, meter, quantity, occurred_at)
    SELECT ':tenant', id, 'api', id::text, '{METER}', 1, now() FROM given JOIN fresh ON event_id = id
) SELECT event_id FROM fresh;
INSERT INTO billing.usage_hours AS h (tenant_id, meter, hour, quantity, n_events)
VALUES (':tenant', '{METER}', date_trunc('hour', now(), 'UTC'), {BATCH}, {BATCH})
ON CONFLICT (tenant_id, meter, hour) DO UPDATE
SET quantity = h.quantity + excluded.quantity, n_events = h.n_events + excluded.n_events;
UPDATE billing.usage_counters SET used = used + {BATCH}, n_events = n_events + {BATCH}, revision = revision + 1, updated_at = now()
WHERE tenant_id = ':tenant' AND meter = '{METER}' AND period_start = date_trunc('month', now(), 'UTC');
COMMIT;
"""


def usage(run):
    """HTTP, bare SQL and COPY in turn; then every accepted event must be in the counters. Last, latency at half the rate."""
    options, product = run.options, run.product
    reporters = run.tenants[:TENANTS]
    rates = {"http": [], "sql": [], "copy": []}
    for number in range(4):
        before = _counted(product)
        answer = _post(product.port, reporters, options.seconds, BATCH, CLIENTS)
        counted = _counted(product) - before
        if counted != answer["events"]:
            raise StepFailed(f"{counted} events were counted, and {answer['events']} acknowledged")
        sql, copied = _bare_sql(run, options.seconds), _copy(run)
        run.raw.setdefault("usage", []).append({"http": answer["per_second"], "sql": sql, "copy": copied})
        if number > 0:  # the first round is for warming up
            for name, rate in (("http", answer["per_second"]), ("sql", sql), ("copy", copied)):
                rates[name].append(rate)
    rate = median(rates["http"])
    run.put("usage_rate", rate, f"{BATCH} events a call, {CLIENTS} connections of {TENANTS} tenants; durable, each answered for itself")
    run.put("usage_ratio_sql", median([h / s for h, s in zip(rates["http"], rates["sql"], strict=True)]), f"bare SQL: {median(rates['sql']):,.0f}/s")
    run.put("usage_ratio_copy", median([h / c for h, c in zip(rates["http"], rates["copy"], strict=True)]), f"COPY into a table without keys' check: {median(rates['copy']):,.0f}/s")
    paced = _post(product.port, reporters, options.seconds, SMALL, PACED_CLIENTS, rate / 2)
    run.raw["usage_paced"] = {key: value for key, value in paced.items() if key != "ms"}
    if paced["per_second"] < 0.45 * rate:
        raise StepFailed(f"half the rate was not reached: {paced['per_second']:,.0f} of {rate / 2:,.0f} events/s")
    for key, part in (("usage_p50", 0.5), ("usage_p99", 0.99)):
        run.put(key, paced["ms"][int(part * (len(paced["ms"]) - 1))], f"{SMALL} events a call at {paced['per_second']:,.0f} events/s")
    say(f"  {rate:,.0f} events/s, bare SQL {median(rates['sql']):,.0f}, COPY {median(rates['copy']):,.0f}")


def _counted(product):
    return int(product.query(f"SELECT coalesce(sum(used), 0)::bigint FROM billing.usage_counters WHERE meter = '{METER}'"))


def _body(size):
    events = ",".join(f'{{"id":"{uuid.uuid4()}","meter":"{METER}","quantity":1}}' for _ in range(size))
    return f'{{"events":[{events}]}}'.encode()


def _post(port, reporters, seconds, size, n_clients, events_per_second=None):
    """Posts as fast as the server answers, or at a constant rate whose latencies count from when each call was due."""
    # Made before anything is timed; should they not suffice, the load ends early.
    n_bodies = int(seconds * (events_per_second or 80_000) / size) // n_clients
    bodies = [[_body(size) for _ in range(n_bodies)] for _ in range(n_clients)]
    took, wrong, ends = [[] for _ in range(n_clients)], [], []
    gate = threading.Barrier(n_clients + 1)

    def worker(number):
        tenant, client = reporters[number % len(reporters)], Client(port)
        head = {"Host": tenant["host"], "Authorization": f"Bearer {tenant['token']}", "Content-Type": "application/json"}
        try:
            client.connect()
            gate.wait(30)
            began = time.monotonic()
            for n, body in enumerate(bodies[number]):
                due = time.monotonic()
                if events_per_second:
                    due = began + (n * n_clients + number) * size / events_per_second
                    time.sleep(max(0, due - time.monotonic()))
                elif due - began > seconds:
                    break
                client.connection.request("POST", PATH, body, head)
                answer = client.connection.getresponse()
                text = answer.read()
                took[number].append((time.monotonic() - due) * 1000)
                if answer.status != 200 or text.count(b'"accepted"') != size:
                    wrong.append(f"{answer.status}: {text[:200]!r}")
                    break
        except (OSError, StepFailed, threading.BrokenBarrierError) as e:
            wrong.append(f"{type(e).__name__}: {e}")
        finally:
            ends.append(time.monotonic())
            client.close()

    workers = [threading.Thread(target=worker, args=(n,), daemon=True) for n in range(n_clients)]
    for thread in workers:
        thread.start()
    gate.wait(30)
    began = time.monotonic()
    for thread in workers:
        thread.join(seconds + 60)
    if wrong or len(ends) < n_clients:
        raise StepFailed(wrong[0] if wrong else "a client did not end")
    events = size * sum(map(len, took))
    return {"events": events, "per_second": events / (max(ends) - began), "ms": sorted(ms for part in took for ms in part)}


def _bare_sql(run, seconds):
    """Events a second of the same writes by pgbench, one connection for each tenant."""
    script = run.servers.directory / "usage.sql"
    script.write_text(SCRIPT)
    out = run_tool(["pgbench", "-n", "-f", script, "-c", TENANTS, "-j", 2, "-T", max(2, seconds // 2), "-h", run.product.socket(),
                    "-U", "postgres", "businessos"], seconds + 60)
    found = re.search(r"^tps = ([\d.]+)", out, re.M)
    failed = re.search(r"number of failed transactions: (\d+)", out)
    if not found or (failed and int(failed[1])):
        raise StepFailed(f"pgbench: {json.dumps(out[-300:])}")
    return float(found[1]) * BATCH


def _copy(run):
    """Rows a second that PostgreSQL takes by COPY into a table like the events', with its index and nothing else."""
    product, rows = run.product, 200_000
    file = run.servers.directory / "usage.copy"
    if not file.exists():
        tenant = run.tenants[0]["id"]
        now = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime())
        lines = (f"{tenant}\t{now}\t{uuid.uuid4()}\tapi\t{uuid.uuid4()}\t{METER}\t1\t{now}\t\\N\tf\n" for _ in range(rows))
        file.write_text("".join(lines))
    product.query("DROP TABLE IF EXISTS public.usage_copy")
    product.query("CREATE TABLE public.usage_copy (LIKE billing.usage_events INCLUDING ALL)")
    began = time.monotonic()
    run_tool(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", product.socket(), "-U", "postgres", "-d", "businessos",
              "-c", f"\\copy public.usage_copy FROM '{file}'"], 120)
    took = time.monotonic() - began
    product.query("DROP TABLE public.usage_copy")
    return rows / took
