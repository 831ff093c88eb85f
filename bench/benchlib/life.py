"""Parts about the product's life: onboarding, start, idle memory, sign-in, a sign-in storm, the cost of a tenant transaction."""

import json
import threading
import time
from pathlib import Path

from . import load, memory
from .gateways import tool
from .proc import StepFailed
from .proc import run as run_tool
from .product import SEEDERS, Client, Product, add_tokens, login, sign_in_for
from .session import median, percentile, say

REPOSITORY = Path(__file__).resolve().parent.parent.parent
STORM_CLIENTS = 16
REFRESH_SESSIONS = 16
OWN_GROUND = {"closing", "invoices", "tenant_tx"}  # parts that need no tenants that can sign in


def open_product(run):
    """First start of an empty installation; the memory of a server that has done nothing yet."""
    options = run.options
    if not Path(options.binary).is_file():
        raise StepFailed(f"there is no binary at {options.binary}: build it with cargo build --release")
    product = Product(run.servers, options.binary, options.threads, run.bench.upstream_port)
    product.start(120)
    time.sleep(3)
    run.raw["idle_memory_empty"] = memory.of_process(product.process.pid)
    run.product = product


def onboarding(run):
    """Creates the run's tenants; all calls count, the first ones too."""
    options = run.options
    budget = 60 + options.tenants * 0.25
    run.tenants, took = SEEDERS[options.seeder](run.product, options.tenants, budget)
    add_tokens(run.product, run.tenants, budget)
    if not took:
        raise StepFailed(f"the seeder {options.seeder} does not onboard over HTTP: there is nothing to time")
    took.sort()
    run.raw["onboarding_ms"] = {"n": len(took), **{f"p{p}": percentile(took, p) for p in (50, 90, 99, 100)}}
    run.put("onboarding_p50", percentile(took, 50), f"{len(took):,} tenants")
    run.put("onboarding_p99", percentile(took, 99))
    hashing = argon2_rate(run, 3)
    if hashing:
        own = percentile(took, 99) - hashing["ms_each"]
        run.put("onboarding_own_p99", own, f"one hash takes {hashing['ms_each']:.0f} ms when two run at once")
    else:
        run.notes["onboarding_own_p99"] = "no examples/argon2_rate: the hash's share is unknown"


def restarts(run):
    """Five starts on the existing cluster; the idle memory after the last, before any load."""
    product, found = run.product, []
    product.stop()
    for _ in range(5):
        found.append(product.seconds_to_first_answer(run.tenants[0]))
        if len(found) < 5:
            product.stop()
    run.raw["start"] = found
    for key, name in (("start_s", "healthz"), ("start_proxied_s", "proxied")):
        seconds = [f[name] for f in found]
        run.put(key, median(seconds), f"{min(seconds):.2f} to {max(seconds):.2f} in five starts")


def idle_memory(run):
    """The larger of: empty installation, and existing one after its start."""
    time.sleep(3)
    sizes = [run.raw["idle_memory_empty"], memory.of_process(run.product.process.pid)]
    if any(size["rss_mb"] is None for size in sizes):
        raise StepFailed("the server's memory could not be read")
    run.raw["idle_memory"] = sizes
    largest = max(sizes, key=lambda size: size["rss_mb"])
    run.put("idle_rss", largest["rss_mb"], "" if largest["pss_mb"] is None else f"PSS {largest['pss_mb']:.0f} MB")


def example(name, arguments, deadline_s):
    """The JSON that one of the repository's examples prints on its last line; None if there is no such example."""
    if not _is_there(name):
        return None
    out = run_tool([tool("cargo"), "run", "--release", "--quiet", "--example", name, "--", *arguments], deadline_s, cwd=REPOSITORY)
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise StepFailed(f"the example {name} printed no JSON on its last line") from None


def _is_there(name):
    return any((REPOSITORY / "examples" / file).is_file() for file in (f"{name}.rs", f"{name}/main.rs"))


def argon2_rate(run, seconds, deadline_s=60):
    """Hashes a second with one thread for each hashing permit, and the milliseconds of one; None without the example."""
    threads = run.options.cores
    found = example("argon2_rate", [seconds, threads], deadline_s)
    if found is None:
        return None
    if found.get("threads") != threads:
        raise StepFailed(f"argon2_rate used {found.get('threads')} threads, not {threads}")
    found["ms_each"] = 1000 * threads / found["hashes_per_second"]
    return found


def build_examples(run):
    """Compiles the examples that the chosen parts run, before anything is timed."""
    parts = set(run.options.parts)
    needed = {"argon2_rate": parts - OWN_GROUND, "tenant_tx_cost": parts & {"tenant_tx"}, "invoice_sample": parts & {"invoices"}}
    for name in [name for name, by in needed.items() if by]:
        if _is_there(name):
            run_tool([tool("cargo"), "build", "--release", "--quiet", "--example", name], 1500, cwd=REPOSITORY)


def sign_in(run):
    """Sign-ins over HTTP and bare hashing in turn; twice as many clients as permits, so that a permit never waits for work."""
    seconds, rates, bare = run.options.seconds + 3, [], []
    for _ in range(3):
        hashing = argon2_rate(run, seconds)
        if hashing:
            bare.append(hashing["hashes_per_second"])
        result = sign_in_for(run.product, run.tenants, seconds, 2 * run.options.cores)
        if not result["sign_ins"]:
            raise StepFailed(f"not one sign-in in {seconds} s ({result['refused']} refused)")
        rates.append(result["sign_ins"] / result["seconds"])
        run.raw.setdefault("sign_in", []).append({**result, "ms": None, "p50_ms": percentile(result["ms"], 50), "p99_ms": percentile(result["ms"], 99)})
    run.raw["argon2"] = bare
    run.put("sign_in_rate", median(rates), f"p99 {run.raw['sign_in'][-1]['p99_ms']:.0f} ms")
    if bare:
        run.put("sign_in_ratio", median([s / b for s, b in zip(rates, bare, strict=True)]), f"bare argon2: {median(bare):.0f}/s")
    else:
        run.notes["sign_in_ratio"] = "no examples/argon2_rate"


def refresh(run):
    """Refreshes of sessions of different tenants, as many at once as keep the server and PostgreSQL busy."""
    options, product, rates = run.options, run.product, []
    n_sessions = min(REFRESH_SESSIONS, len(run.tenants))
    client = Client(product.port)
    for _ in range(3):
        lines = []
        for tenant in run.tenants[:n_sessions]:
            status, answer, _took = login(client, tenant)
            if status != 200:
                raise StepFailed(f"sign-in answered {status}: {json.dumps(answer)[:200]}")
            lines.append(f"{tenant['host']}\t{answer['refresh_token']}\n")
        sessions = run.servers.directory / "refresh.tsv"
        sessions.write_text("".join(lines))
        result = load.refreshes(product.port, sessions, n_sessions, options.seconds)
        run.raw.setdefault("refresh", []).append(result)
        rates.append(result["per_second"])
    client.close()
    last = run.raw["refresh"][-1]
    run.put("refresh_rate", median(rates) / options.cores, f"{median(rates):,.0f}/s on {options.cores} cores, {n_sessions} sessions, p99 {last['p99_us']:,} µs")


def validate(run):
    """`/auth/validate` with all tokens in rotation; PostgreSQL's own count of transactions says that none was asked for."""
    options, product, rates, n_requests = run.options, run.product, [], 0
    # What the server asks by itself, in as long a time: its jobs and its look at the config log.
    before = product.transactions()
    time.sleep(3 * options.seconds)
    own = product.transactions() - before
    before += own
    for _ in range(3):
        result = load.throughput(product.port, run.files.pairs, 64, options.seconds, options.threads, "/auth/validate")
        run.raw.setdefault("validate", []).append(result)
        rates.append(result["per_second"])
        n_requests += result["requests"]
    asked = product.transactions() - before
    run.put("validate_rate", median(rates), f"p99 {run.raw['validate'][-1]['p99_us']:,} µs")
    run.raw["validate_transactions"] = {"own": own, "asked": asked}
    run.put("validate_transactions", max(0.0, 1000 * (asked - own) / n_requests), f"{asked} transactions during {n_requests:,} validations, {own} in as long a time without")


def storm(run):
    """The gateway's p99 at a constant rate, with and without a crowd that signs in as fast as it can, in turn."""
    seconds = run.options.seconds + 3
    if "businessos" not in run.rates:
        raise StepFailed("the gateway's throughput is unknown")
    rate = run.rates["businessos"] * run.options.storm_share
    ratios = []
    for _ in range(3):
        quiet = load.paced(run.pacer, run.product.port, run.files.pairs, rate, seconds)
        crowd = {}
        thread = threading.Thread(target=_crowd, args=(run, seconds + 1, crowd), daemon=True)
        thread.start()
        time.sleep(0.5)
        stormy = load.paced(run.pacer, run.product.port, run.files.pairs, rate, seconds, must_reach=False)
        thread.join(60)
        if "error" in crowd:
            raise StepFailed(crowd["error"])
        if not crowd.get("sign_ins"):
            raise StepFailed("nobody could sign in during the storm")
        run.product.process.take_log()
        ratios.append(stormy["p99_us"] / quiet["p99_us"])
        run.raw.setdefault("storm", []).append({"quiet": quiet, "stormy": stormy, "crowd": {k: v for k, v in crowd.items() if k != "ms"}})
        say(f"  p99 {quiet['p99_us']} µs quiet, {stormy['p99_us']} µs with {crowd['sign_ins']} sign-ins")
    last = run.raw["storm"][-1]
    run.put("storm_ratio", median(ratios), f"at {rate:,.0f} requests/s: {last['quiet']['p99_us']:,} and {last['stormy']['p99_us']:,} µs in the last round")


def _crowd(run, seconds, crowd):
    try:
        crowd.update(sign_in_for(run.product, run.tenants, seconds, STORM_CLIENTS))
    except StepFailed as e:
        crowd["error"] = str(e)


def tenant_tx(run):
    """What the repository's own example says about a tenant-scoped read."""
    found = example("tenant_tx_cost", [], 180)
    if found is None:
        run.skipped["tenant_tx"] = "no examples/tenant_tx_cost"
        return
    run.raw["tenant_tx"] = found
    if not isinstance(found.get("round_trips"), int | float):
        raise StepFailed("tenant_tx_cost printed no round_trips")
    rest = ", ".join(f"{key} {value}" for key, value in found.items() if key != "round_trips")
    run.put("tenant_tx_round_trips", found["round_trips"], rest)
