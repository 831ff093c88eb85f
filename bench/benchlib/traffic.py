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
    for key, start in starters:
        try:
            gateway = start()
            check(gateway, run.tenants)
            run.gateways[key] = gateway
        except StepFailed as e:
            leave_out(run, key, e)


def leave_out(run, key, error):
    """Remembers why a gateway has no figures (the report shows it) and goes on with the others."""
    run.raw.setdefault("gateway_errors", {})[key] = str(error)
    say(f"  {key} is left out: {error}")


def throughput(run):
    """Every gateway in turn, the order reversed in every other round, so that no one always follows the same neighbour."""
    options, rounds = run.options, {key: [] for key in run.gateways}
    for number in range(options.rounds + 1):
        for key in list(rounds) if number % 2 else list(reversed(rounds)):
            try:
                result = _one_round(run, run.gateways[key], 2 if number == 0 else options.seconds)
            except StepFailed as e:
                del rounds[key]
                leave_out(run, key, e)
                continue
            if number > 0:  # before the first round, connections, caches and compilers get warm
                rounds[key].append(result)
                say(f"  round {number}: {key} {result['per_second']:,.0f}/s, p99 {result['p99_us']} µs")
    run.raw["throughput"] = rounds
    run.rates = {key: median([r["per_second"] for r in results]) for key, results in rounds.items()}
    if "businessos" in rounds:
        _compare(run, rounds)
    elif run.product:
        raise StepFailed(run.raw["gateway_errors"]["businessos"])
    else:
        run.skipped["throughput"] = run.product_error


def _one_round(run, gateway, seconds):
    result = load.throughput(gateway.port, run.files.pairs, CONNECTIONS, seconds, run.options.threads)
    lines = gateway.process.take_log()
    if gateway.has_rules:
        result["logged_share"] = lines / result["requests"]
        if gateway.key != "businessos" and result["logged_share"] < 0.99:
            raise StepFailed(f"it logged only {result['logged_share']:.1%} of its requests: the comparison would not be fair")
    return result


def _compare(run, rounds):
    own = rounds["businessos"]
    run.put("rate", run.rates["businessos"], _spread(own))
    run.put("log_share", min(100.0, 100 * min(r["logged_share"] for r in own)))
    express = max((k for k in rounds if k.startswith("express")), key=lambda k: run.rates[k], default=None)
    for key, other in (("ratio_jwt", "haproxy-jwt"), ("ratio_rules", "haproxy-rules"), ("ratio_express", express), ("ratio_nginx", "nginx")):
        if rounds.get(other):
            ratios = [a["per_second"] / b["per_second"] for a, b in zip(own, rounds[other], strict=True)]
            run.put(key, median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f} over the rounds")
        else:
            run.failed[key] = f"{other or 'express'}: {run.raw.get('gateway_errors', {}).get(other, 'it has no figures')}"


def _spread(results):
    rates = [r["per_second"] for r in results]
    return f"{min(rates):,.0f} to {max(rates):,.0f} over the rounds"


def latency(run):
    """Each gateway at half of its own throughput, and the upstream alone at the same rate right before it."""
    if not run.rates:
        raise StepFailed("there is no throughput to take half of")
    found = run.raw.setdefault("latency", {})
    for key, rate in run.rates.items():
        if key == "upstream":
            continue
        try:
            found[key] = [_added(run, run.gateways[key], rate / 2) for _ in range(run.options.latency_rounds)]
        except StepFailed as e:
            found.pop(key, None)
            if key == "businessos":
                run.failed["latency"] = str(e)
            leave_out(run, f"{key} (latency)", e)
            continue
        added = {p: median([r["added"][p] for r in found[key]]) for p in ("p50", "p99")}
        say(f"  {key} at {rate / 2:,.0f}/s adds p50 {added['p50']:.0f} µs, p99 {added['p99']:.0f} µs")
        if key == "businessos":
            run.put("added_p50", added["p50"], f"at {rate / 2:,.0f}/s")
            run.put("added_p99", added["p99"], f"at {rate / 2:,.0f}/s")
    if "added_p50" not in run.values:
        run.skipped["latency"] = run.product_error or "businessos did not pass its checks"


def _added(run, gateway, rate):
    """One round: the upstream alone, then through the gateway, at the same rate; the difference of the percentiles."""
    seconds = run.options.seconds + 1  # the pacer does not count its first
    alone = load.paced(run.pacer, run.gateways["upstream"].port, run.files.pairs, rate, seconds)
    through = load.paced(run.pacer, gateway.port, run.files.pairs, rate, seconds)
    gateway.process.take_log()
    return {"alone": alone, "through": through, "added": {p: through[f"{p}_us"] - alone[f"{p}_us"] for p in ("p50", "p99")}}


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
