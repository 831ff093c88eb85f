"""The month's end: closing the period of many tenants, against the same writes as bare SQL, and printing their invoices."""

import re
import time

from . import life, memory
from .proc import StepFailed
from .proc import run as run_tool
from .product import Product
from .session import say

METER = "ai_tokens"
BARE_SQL_TENANTS = 2000  # at most: bare SQL does the same for each, so more of them say nothing more

# Paying tenants, each with one owner, a plan with usage beyond what it includes, and one month that has ended. Mail is held back: what it
# costs to print and send is not the close's.
TENANTS = """
SET TIME ZONE 'UTC';
ALTER TABLE platform.mail_outbox ALTER COLUMN next_attempt_at SET DEFAULT now() + interval '1 year';
CREATE TEMPORARY TABLE made AS
SELECT n, gen_random_uuid() AS id, date_trunc('month', now()) - interval '1 month' AS since, date_trunc('month', now()) AS until
FROM generate_series(1, {n}) AS n;
INSERT INTO platform.tenants (tenant_id, slug, name, region, plan, created_at)
SELECT id, '{prefix}-' || n, 'Paying ' || n, 'global', 'pro', {created_at} FROM made;
INSERT INTO auth.users (tenant_id, id, email, email_norm, role, state, email_verified_at)
SELECT id, gen_random_uuid(), mail, mail, 'owner', 'active', now()
FROM made, LATERAL (SELECT 'owner@{prefix}-' || n || '.example' AS mail) AS m;
INSERT INTO billing.subscriptions (tenant_id, plan, plan_version, started_at) SELECT id, 'pro', 1, since FROM made;
INSERT INTO billing.subscription_changes (tenant_id, revision, kind, plan, plan_version, add_ons, is_billed, effective_at)
SELECT id, 1, 'begin', 'pro', 1, '[]', true, since FROM made;
INSERT INTO billing.usage_counters (tenant_id, meter, period_start, period_end, used)
SELECT id, '{meter}', since, until, 10000000 + 1000 * n FROM made;
DELETE FROM platform.job_runs WHERE job = 'close_billing_periods';
"""

# In what order pgbench takes them. Made last: a server does not start on tables that are nobody's.
QUEUE = """
CREATE TABLE public.to_close AS SELECT n, id FROM made;
CREATE UNIQUE INDEX ON public.to_close (n);
CREATE SEQUENCE public.next_to_close;
"""

# What the server's transaction writes for each tenant, without what it reads and works out before.
SCRIPT = f"""
SELECT id AS tenant, gen_random_uuid() AS invoice
FROM (SELECT nextval('public.next_to_close') AS n OFFSET 0) AS next JOIN public.to_close USING (n) \\gset
BEGIN;
SET LOCAL ROLE app_rw;
SET LOCAL app.current_tenant_id = ':tenant';
SET LOCAL TIME ZONE 'UTC';
INSERT INTO billing.billing_periods (tenant_id, period_start, period_end, plan, plan_version)
VALUES (':tenant', date_trunc('month', now()) - interval '1 month', date_trunc('month', now()), 'pro', 1);
SELECT used FROM billing.usage_counters WHERE tenant_id = ':tenant' FOR NO KEY UPDATE;
INSERT INTO billing.period_usage (tenant_id, period_start, meter, billed, included, unit_price)
VALUES (':tenant', date_trunc('month', now()) - interval '1 month', '{METER}', 10001000, 10000000, '0.0015');
SELECT billing.take_invoice_number('BARE') AS number \\gset
INSERT INTO billing.invoices (tenant_id, id, number, kind, status, period_start, period_end, currency, subtotal_minor, discount_minor,
                              tax_minor, total_minor, issued_at, due_at, seller, buyer)
VALUES (':tenant', ':invoice', 'BARE-' || :number, 'cycle', 'open', date_trunc('month', now()) - interval '1 month',
        date_trunc('month', now()), 'USD', 19902, 0, 0, 19902, now(), now() + interval '14 days',
        jsonb_build_object('legal_name', repeat('s', 400)), jsonb_build_object('legal_name', repeat('b', 100)));
INSERT INTO billing.invoice_lines (tenant_id, invoice_id, position, key, kind, description, quantity, unit_price, amount_minor,
                                   period_start, period_end, tax_category, tax_rate)
SELECT ':tenant', ':invoice', n, 'line:' || n, 'plan', 'Plan pro', 1, '19900', 19900, now(), now(), 'O', 0 FROM generate_series(1, 2) AS n;
INSERT INTO billing.invoice_taxes (tenant_id, invoice_id, category, rate, basis_minor, amount_minor)
VALUES (':tenant', ':invoice', 'O', 0, 19902, 0);
INSERT INTO platform.audit_log (tenant_id, id, actor_kind, action, target_kind, target_id, outcome, detail)
VALUES (':tenant', gen_random_uuid(), 'system', 'invoice.issued', 'invoice', ':invoice', 'success', jsonb_build_object('x', repeat('x', 200)));
INSERT INTO platform.mail_outbox (tenant_id, id, kind, recipient, detail)
VALUES (':tenant', gen_random_uuid(), 'invoice', 'owner@bare.example', jsonb_build_object('x', repeat('x', 200)));
INSERT INTO billing.stream_heads (tenant_id, last_id) VALUES (':tenant', 1);
INSERT INTO billing.stream_events (tenant_id, id, kind, payload)
VALUES (':tenant', 1, 'invoice.created', jsonb_build_object('x', repeat('x', 200)));
COMMIT;
"""


def closing(run):
    """An installation of its own: the job's own note of how long it took, the server's memory meanwhile, and what it did, counted."""
    n = run.options.closing_tenants
    product = Product(run.servers, run.options.binary, run.options.threads, run.bench.upstream_port, "closing",
                      {"BUSINESSOS__METERING__LATE_GRACE_H": "0"})
    product.start(120)
    _insert(product, "paying", n, "date_trunc('month', now()) - interval '1 month'")
    product.stop()
    # The start finds the hour's slot free, and begins at once.
    product.start(120)
    before = memory.of_process(product.process.pid)["rss_mb"]
    with memory.Peak(product.process.pid) as peak:
        took = _wait_for_the_job(product, n)
    if before is None or peak.largest["rss_mb"] is None:
        raise StepFailed("the server's memory could not be read")
    _check(product, n)
    n_bare = min(n, BARE_SQL_TENANTS)
    _insert(product, "bare", n_bare, "now()", QUEUE)
    bare = _bare_sql(run, product, n_bare)
    product.stop()
    largest = max(before, peak.largest["rss_mb"])
    run.raw["closing"] = {"tenants": n, "seconds": took, "rss_before_mb": before, "rss_peak_mb": largest, "bare_sql_per_second": bare}
    run.put("closing_s", took, f"{n / took:,.0f} tenants/s, four at once; each with an invoice, an audit row, a mail, a stream event")
    run.put("closing_ratio", n / took / bare, f"bare SQL: {bare:,.0f} tenants/s on one connection, without what is read and worked out; numbers without gaps let one commit at a time")
    run.put("closing_rss", largest, f"{before:.0f} MB just after the start")
    say(f"  {n:,} tenants in {took:.1f} s, bare SQL {bare:,.0f}/s, {largest:.0f} MB")


def _insert(product, prefix, n, created_at, more=""):
    product.query(TENANTS.format(prefix=prefix, n=n, created_at=created_at, meter=METER) + more, deadline_s=300)


def _wait_for_the_job(product, n):
    """Seconds that the job took, as it wrote down itself."""
    end = time.monotonic() + 60 + n * 0.1
    sql = ("SELECT outcome || ' ' || n_done || ' ' || extract(epoch FROM finished_at - started_at) FROM platform.job_runs"
           " WHERE job = 'close_billing_periods' AND outcome <> 'running'")
    while time.monotonic() < end:
        found = product.query(sql)
        if found:
            outcome, n_done, seconds = found.split()
            if outcome != "done" or int(n_done) != n:
                raise StepFailed(f"the job is {outcome} with {n_done} periods, not done with {n}")
            return float(seconds)
        product.process.check_alive()
        time.sleep(0.25)
    raise StepFailed("the job did not end in time")


def _check(product, n):
    """One invoice for each tenant, of the plan's price and its own usage, with a number, a mail, an audit row and an event."""
    expected = f"{n} {n} {sum(19900 + (15 * k + 5) // 10 for k in range(1, n + 1))} {n} {n} {n}"
    found = product.query(
        "SELECT concat_ws(' ', count(*), (SELECT max(last_number) FROM billing.invoice_series), sum(total_minor),"
        " (SELECT count(*) FROM platform.mail_outbox WHERE kind = 'invoice'),"
        " (SELECT count(*) FROM platform.audit_log WHERE action = 'invoice.issued'),"
        " (SELECT count(*) FROM billing.stream_events WHERE kind = 'invoice.created')) FROM billing.invoices")
    if found != expected:
        raise StepFailed(f"invoices, last number, sum, mails, audit rows, events: found {found}, expected {expected}")


def _bare_sql(run, product, n):
    """Tenants a second of the same writes by pgbench on one connection: more of them wait for each other's numbers."""
    script = run.servers.directory / "closing.sql"
    script.write_text(SCRIPT)
    out = run_tool(["pgbench", "-n", "-f", script, "-c", 1, "-j", 1, "-t", n, "-h", product.socket(), "-U", "postgres", "businessos"], 60 + n)
    found = re.search(r"^tps = ([\d.]+)", out, re.M)
    failed = re.search(r"number of failed transactions: (\d+)", out)
    if not found or (failed and int(failed[1])) or product.query("SELECT last_number FROM billing.invoice_series WHERE series = 'BARE'") != str(n):
        raise StepFailed(f"pgbench: {out[-300:]!r}")
    return float(found[1])


def invoices(run):
    """Prints so many different invoices in one process, one after the other."""
    n = run.options.pdfs
    out = run.servers.directory / "invoices"
    printed = life.example("invoice_sample", ["--count", n, "--out", out], 120 + n)
    if printed is None:
        raise StepFailed("there is no example invoice_sample")
    run.raw["invoices"] = printed
    size = f"{printed['pages']} page{'s' if printed['pages'] > 1 else ''}, {printed['lines']} lines, {printed['pdf_bytes'] / 1024:.0f} KB"
    run.put("pdf_median", printed["median_ms"], f"p95 {printed['p95_ms']:.1f} ms; PDF/A-3 and Factur-X; {size}")
    if printed["rss_half_kib"] is None or printed["peak_kib"] is None:
        raise StepFailed("the process's memory could not be read")
    run.put("pdf_growth", max(0, printed["rss_after_kib"] - printed["rss_half_kib"]) / memory.MB, f"{n / 2:,.0f} invoices and {n:,}")
    run.put("pdf_peak", printed["peak_kib"] / memory.MB, "typesetter, fonts and all")
