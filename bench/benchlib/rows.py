"""The rows of the report and their targets, in one table: a part fills values by key, the report judges them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the report; `reached` is None where there is no target."""

    key: str
    part: str
    what: str
    unit: str
    target: str
    reached: Callable[[float], bool] | None


def at_least(limit):
    return lambda value: value >= limit


def at_most(limit):
    return lambda value: value <= limit


ROWS = [
    Row("rate", "throughput", "gateway, 64 connections", "requests/s", "–", None),
    Row("ratio_jwt", "throughput", "against HAProxy verifying ES256 for each request", "×", "≥ 3", at_least(3)),
    Row("ratio_rules", "throughput", "against HAProxy, same rules, signature not checked", "×", "≥ 0.75", at_least(0.75)),
    Row("ratio_express", "throughput", "against the Express stack (the faster of cluster and single)", "×", "≥ 20", at_least(20)),
    Row("ratio_nginx", "throughput", "against nginx as a bare reverse proxy", "×", "–", None),
    Row("log_share", "throughput", "requests that have a line in the access log", "%", "≥ 99", at_least(99)),
    Row("added_p50", "latency", "added latency at half load, p50", "µs", "≤ 150", at_most(150)),
    Row("added_p99", "latency", "added latency at half load, p99", "µs", "≤ 1,000", at_most(1000)),
    Row("many_ratio", "tenants", "throughput with {many:,} tenants against that with ten", "×", "≥ 0.9", at_least(0.9)),
    Row("idle_rss", "memory", "resident memory, idle", "MB", "≤ 40", at_most(40)),
    Row("busy_rss", "memory", "resident memory, 2,000 connections and full load", "MB", "≤ 150", at_most(150)),
    Row("many_rss", "tenants", "resident memory, {many:,} active tenants", "MB", "≤ 250", at_most(250)),
    Row("postgres_pss", "memory", "embedded PostgreSQL beside it (PSS of all its processes)", "MB", "≤ 150", at_most(150)),
    Row("start_s", "start", "start to first answer of /healthz, existing cluster", "s", "≤ 0.5", at_most(0.5)),
    Row("start_proxied_s", "start", "start to first proxied, authenticated answer", "s", "≤ 0.5", at_most(0.5)),
    Row("onboarding_p50", "onboarding", "onboarding, two at a time, p50", "ms", "–", None),
    Row("onboarding_p99", "onboarding", "onboarding, two at a time, p99", "ms", "–", None),
    Row("onboarding_own_p99", "onboarding", "onboarding p99 without the password hash", "ms", "≤ 100", at_most(100)),
    Row("sign_in_rate", "signin", "sign-ins", "1/s", "–", None),
    Row("sign_in_ratio", "signin", "sign-ins against the bare argon2 rate of the machine", "×", "≥ 0.9", at_least(0.9)),
    Row("refresh_rate", "refresh", "refreshes for each core, PostgreSQL and the client on the same cores", "1/s", "≥ 1,200", at_least(1200)),
    Row("validate_rate", "validate", "/auth/validate, 64 connections", "1/s", "–", None),
    Row("validate_transactions", "validate", "database transactions in 1,000 validations", "", "≤ 1", at_most(1)),
    Row("storm_ratio", "storm", "gateway p99 during a sign-in storm against that without", "×", "≤ 2", at_most(2)),
    Row("metered_ratio", "metered", "throughput of a metered route against the same without a meter", "×", "≥ 0.95", at_least(0.95)),
    Row("metered_counted", "metered", "calls counted beyond those answered", "", "0 to 64 a round", at_least(0)),
    Row("usage_rate", "usage", "usage events taken in over HTTP, durable and counted once", "1/s", "≥ 25,000", at_least(25000)),
    Row("usage_ratio_sql", "usage", "against the same writes as bare SQL (pgbench)", "×", "≥ 0.7", at_least(0.7)),
    Row("usage_ratio_copy", "usage", "against COPY of the same rows", "×", "≥ 0.4", at_least(0.4)),
    Row("usage_p50", "usage", "answer to 100 events at half that rate, p50", "ms", "–", None),
    Row("usage_p99", "usage", "answer to 100 events at half that rate, p99", "ms", "≤ 20", at_most(20)),
    Row("admins_rss", "admins", "memory of 1,000 connected admins", "MB", "–", None),
    Row("scim_rate", "scim", "SCIM requests of each tenant while the gateway is under full load", "1/s", "≥ 25", at_least(25)),
    Row("scim_p50", "scim", "answer to a SCIM request meanwhile, p50", "ms", "–", None),
    Row("scim_p99", "scim", "answer to a SCIM request meanwhile, p99", "ms", "–", None),
    Row("closing_s", "closing", "month's end of {closing:,} tenants: closed, rated, invoiced, announced", "s", "–", None),
    Row("closing_ratio", "closing", "against the same writes as bare SQL (pgbench)", "×", "–", None),
    Row("closing_rss", "closing", "resident memory meanwhile, largest", "MB", "≤ 60", at_most(60)),
    Row("pdf_median", "invoices", "PDF of an invoice, median", "ms", "≤ 50", at_most(50)),
    Row("pdf_growth", "invoices", "memory that printing the later half of {pdfs:,} invoices adds", "MB", "≤ 4", at_most(4)),
    Row("pdf_peak", "invoices", "resident memory of a process that prints them, largest", "MB", "–", None),
    Row("tenant_tx_round_trips", "tenant_tx", "round trips of a tenant-scoped read on the request's path", "", "≤ 2", at_most(2)),
]


def judge(run):
    """Every row with its value and verdict: reached, missed, measured (no target), failed or not measured, with the reason."""
    judged = []
    sizes = {"many": run.options.many_tenants, "closing": run.options.closing_tenants, "pdfs": run.options.pdfs}
    for row in ROWS:
        value = run.values.get(row.key)
        if value is not None:
            verdict = "measured" if row.reached is None else "reached" if row.reached(value) else "missed"
            note = run.notes.get(row.key, "")
        elif row.key in run.failed or row.part in run.failed:
            verdict, note = "failed", run.failed.get(row.key) or run.failed[row.part]
        else:
            verdict, note = "not measured", run.notes.get(row.key) or run.skipped.get(row.part, "no figure was produced")
        judged.append({"key": row.key, "part": row.part, "what": row.what.format(**sizes), "unit": row.unit,
                       "target": row.target, "value": value, "verdict": verdict, "note": note})
    return judged
