"""Parts that load the gateways: throughput in alternating rounds, latency at half load, many tenants, memory under load."""

import time

from . import load, memory
from .gateways import check
from .proc import StepFailed
from .product import SEEDERS, add_tokens
from .session import median, say
from .tokens import TokenFiles

CONNECTIONS = 64
BUSY_CONNECTIONS = 2000


def start_gateways(run):
    """Starts every gateway of the run; one that does not start or does not do its work is a failed row, not the end."""
    bench, files, workers = run.bench, run.files, run.options.threads
    starters = [("nginx", bench.start_nginx), ("haproxy-jwt", lambda: bench.start_haproxy(files, True)),
                ("haproxy-rules", lambda: bench.start_haproxy(files, False)),
                ("express-cluster", lambda: bench.start_express(files, max(2, workers))),
                ("express-single", lambda: bench.start_express(files, 1))]
    if run.product:
        starters.insert(0, ("businessos", run.product.gateway))
    errors = run.raw.setdefault("gateway_errors", {})
    for key, start in starters:
        try:
            gateway = start()
            check(gateway, run.tenants)
            run.gateways[key] = gateway
        except StepFailed as e:
            errors[key] = str(e)
            say(f"{key} is left out: {e}")


def throughput(run):
    """Every gateway in turn, the order reversed in every other round, so that no one always follows the same neighbour."""
    options, rounds, order = run.options, {}, list(run.gateways)
    for key in order:  # connections, caches and JIT are warm before the clock starts
        load.throughput(run.gateways[key].port, run.files.pairs, CONNECTIONS, 2, run.options.threads)
        run.gateways[key].process.take_log()
    for number in range(options.rounds):
        for key in order if number % 2 == 0 else reversed(order):
            gateway = run.gateways[key]
            result = load.throughput(gateway.port, run.files.pairs, CONNECTIONS, options.seconds, options.threads)
            lines = gateway.process.take_log()
            if gateway.has_rules:
                result["logged_share"] = lines / result["requests"]
            rounds.setdefault(key, []).append(result)
            say(f"  round {number + 1}: {key} {result['per_second']:,.0f}/s, p99 {result['p99_us']} µs")
    run.raw["throughput"] = rounds
    run.rates = {key: median([r["per_second"] for r in results]) for key, results in rounds.items()}
    for key, results in rounds.items():
        shares = [r["logged_share"] for r in results if "logged_share" in r]
        if key != "businessos" and shares and min(shares) < 0.99:
            raise StepFailed(f"{key} logged only {min(shares):.1%} of its requests: the comparison would not be fair")
    if "businessos" in rounds:
        _compare(run, rounds)
    elif run.product:
        raise StepFailed(run.raw["gateway_errors"]["businessos"])
    else:
        run.skipped["throughput"] = run.product_error


def _compare(run, rounds):
    own = rounds["businessos"]
    run.put("rate", run.rates["businessos"], _spread(own))
    run.put("log_share", min(100.0, 100 * min(r["logged_share"] for r in own)))
    express = max((k for k in rounds if k.startswith("express")), key=lambda k: run.rates[k], default=None)
    for key, other in (("ratio_jwt", "haproxy-jwt"), ("ratio_rules", "haproxy-rules"), ("ratio_express", express), ("ratio_nginx", "nginx")):
        if other in rounds:
            ratios = [a["per_second"] / b["per_second"] for a, b in zip(own, rounds[other], strict=True)]
            run.put(key, median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f} over the rounds")
        else:
            run.notes[key] = f"failed: {run.raw['gateway_errors'].get(other, 'the gateway did not run')}"


def _spread(results):
    rates = [r["per_second"] for r in results]
    return f"{min(rates):,.0f} to {max(rates):,.0f} over the rounds"


def latency(run):
    """Each gateway at half of its own throughput, and the upstream alone at the same rate right before it."""
    if not run.rates:
        raise StepFailed("there is no throughput to take half of")
    upstream, found = run.gateways["upstream"], {}
    for key, rate in run.rates.items():
        if key == "upstream":
            continue
        for _ in range(run.options.latency_rounds):
            alone = load.paced(run.pacer, upstream.port, run.files.pairs, rate / 2, run.options.seconds + 1)
            through = load.paced(run.pacer, run.gateways[key].port, run.files.pairs, rate / 2, run.options.seconds + 1)
            run.gateways[key].process.take_log()
            added = {p: through[f"{p}_us"] - alone[f"{p}_us"] for p in ("p50", "p99")}
            found.setdefault(key, []).append({"alone": alone, "through": through, "added": added})
        added = {p: median([r["added"][p] for r in found[key]]) for p in ("p50", "p99")}
        say(f"  {key} at {rate / 2:,.0f}/s adds p50 {added['p50']:.0f} µs, p99 {added['p99']:.0f} µs")
        if key == "businessos":
            run.put("added_p50", added["p50"], f"at {rate / 2:,.0f}/s")
            run.put("added_p99", added["p99"], f"at {rate / 2:,.0f}/s")
    run.raw["latency"] = found
    if "added_p50" not in run.values:
        run.skipped["latency"] = run.product_error or "businessos did not pass its checks"


def busy_memory(run):
    """Largest resident size during full load over 2,000 connections; then PostgreSQL's PSS beside it."""
    gateway = run.product.gateway()
    with memory.Peak(gateway.process.pid) as peak:
        result = load.throughput(gateway.port, run.files.pairs, BUSY_CONNECTIONS, max(10, run.options.seconds), run.options.threads)
    if peak.largest["rss_mb"] is None:
        raise StepFailed("the server's memory could not be read while it was under load")
    time.sleep(2)
    after = memory.of_process(gateway.process.pid)
    run.raw["busy_memory"] = {"peak": peak.largest, "after": after, "load": result}
    run.put("busy_rss", peak.largest["rss_mb"], f"{result['per_second']:,.0f} requests/s; {after['rss_mb']:.0f} MB two seconds after")
    gateway.process.take_log()
    postgres = memory.of_postgres_below(gateway.process.pid, run.product.directory)
    if postgres is None:
        raise StepFailed("the embedded PostgreSQL's memory could not be read")
    run.raw["postgres_memory"] = postgres
    run.put("postgres_pss", postgres["pss_mb"], f"{postgres['processes']} processes")


def many_tenants(run):
    """Ten tenants against many, in alternating rounds; then the memory, all of the tenants having been active."""
    options = run.options
    add_tokens(run.product, run.tenants, 60 + len(run.tenants) * 0.25)  # those of the run's beginning may expire soon
    more = options.many_tenants - len(run.tenants)
    if more > 0:
        budget = 60 + more * 0.25
        seeded, _ = SEEDERS[options.seeder](run.product, more, budget, prefix="many")
        add_tokens(run.product, seeded, budget)
        say(f"  {more:,} more tenants onboarded and signed in")
    else:
        seeded = []
    everyone = (run.tenants + seeded)[:options.many_tenants]
    files = TokenFiles(run.servers.directory / "many", everyone)
    ten = files.write_pairs("ten", run.tenants[:10])
    process, rates = run.product.process, {"ten": [], "many": []}
    for number in range(options.rounds + 1):
        order = (("ten", ten), ("many", files.pairs))
        for name, pairs in order if number % 2 == 0 else reversed(order):
            result = load.throughput(run.product.port, pairs, CONNECTIONS, options.seconds, options.threads)
            process.take_log()
            if number > 0:  # the first round warms the caches of every tenant
                rates[name].append(result["per_second"])
    ratios = [m / t for m, t in zip(rates["many"], rates["ten"], strict=True)]
    size = memory.of_process(process.pid)
    run.raw["tenants"] = {"rates": rates, "memory": size, "postgres": memory.of_postgres_below(process.pid, run.product.directory)}
    run.put("many_ratio", median(ratios), f"{median(rates['many']):,.0f} and {median(rates['ten']):,.0f} requests/s")
    run.put("many_rss", size["rss_mb"])
