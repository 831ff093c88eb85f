#!/usr/bin/env python3
"""Measures businessos and its alternatives on this machine, loopback only; bench/README.md explains what and why."""

import argparse
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from benchlib import closing, life, load, machine, metering, report, scim, tokens, traffic, usage
from benchlib.gateways import BASE_DOMAIN, Bench
from benchlib.proc import Servers
from benchlib.product import SEEDERS
from benchlib.session import Run, attempt, say

HERE = Path(__file__).resolve().parent
PARTS = ["start", "onboarding", "throughput", "latency", "memory", "signin", "refresh", "validate", "storm", "metered", "usage", "admins", "scim", "tenants",
         "closing", "invoices", "tenant_tx"]
NEEDS_RATES = {"latency", "storm"}


def parse(arguments):
    target = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--binary", default=str(target / "release" / "businessos"), help="release binary (default: %(default)s)")
    p.add_argument("--only", action="append", choices=[*PARTS, "baselines"], help="run this part only (may be repeated); writes no document")
    p.add_argument("--rounds", type=int, default=5, help="rounds of throughput (default: %(default)s)")
    p.add_argument("--latency-rounds", type=int, default=3, help="rounds of latency (default: %(default)s)")
    p.add_argument("--seconds", type=int, default=10, help="length of one load (default: %(default)s)")
    p.add_argument("--tenants", type=int, default=1000, help="tenants in rotation (default: %(default)s)")
    p.add_argument("--many-tenants", type=int, default=10000, help="tenants of the part `tenants` (default: %(default)s)")
    p.add_argument("--closing-tenants", type=int, default=10000, help="tenants of the part `closing` (default: %(default)s)")
    p.add_argument("--pdfs", type=int, default=1000, help="invoices of the part `invoices` (default: %(default)s)")
    p.add_argument("--seeder", choices=sorted(SEEDERS), default="http", help="how tenants are created")
    p.add_argument("--threads", type=int, default=2, help="threads of every gateway and of wrk (default: %(default)s)")
    p.add_argument("--storm-share", type=float, default=0.25, help="gateway load during the storm, share of its throughput")
    p.add_argument("--docs", help="document to write (default: docs/benchmarks.md after a whole run, none with --only)")
    p.add_argument("--keep", action="store_true", help="keep the working directory, to look at logs")
    o = p.parse_args(arguments)
    o.cores = len(os.sched_getaffinity(0))
    for name, low, high in (("rounds", 1, 50), ("latency_rounds", 1, 50), ("seconds", 2, 120), ("tenants", 10, 10000),
                            ("many_tenants", 10, 100000), ("closing_tenants", 10, 100000), ("pdfs", 2, 100000), ("threads", 1, 64),
                            ("storm_share", 0.01, 0.9)):
        if not low <= getattr(o, name) <= high:
            p.error(f"--{name.replace('_', '-')}: expected {low} to {high}")
    o.parts = list(PARTS) if not o.only else [part for part in PARTS if part in o.only]
    o.baselines_only = bool(o.only) and set(o.only) == {"baselines"}
    if o.only and "baselines" in o.only:
        o.parts = sorted({*o.parts, "throughput", "latency"}, key=PARTS.index)
    if not o.docs and not o.only:
        o.docs = str(HERE.parent / "docs" / "benchmarks.md")
    return o


def install():
    """Brings what is missing; says so itself when it cannot."""
    done = subprocess.run(["/bin/sh", HERE / "setup.sh"], timeout=900, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def prepare(run):
    """The upstream, businessos with its tenants where there is one, else tenants with self-made tokens."""
    o = run.options
    run.pacer = load.build_pacer(run.servers.directory)
    run.gateways["upstream"] = run.bench.start_upstream()
    if o.baselines_only:
        run.product_error = "not part of --only baselines"
    elif set(o.parts) <= life.OWN_GROUND:
        run.product_error = "not needed by the chosen parts"
        attempt(run, "examples", 1800, life.build_examples)
    else:
        attempt(run, "examples", 1800, life.build_examples)
        attempt(run, "first start", 180, life.open_product)
        run.product_error = run.failed.get("first start", "")
        if run.product:
            attempt(run, "onboarding", 300 + o.tenants, life.onboarding)
            if not run.tenants or not all("pem" in t for t in run.tenants):
                run.product, run.product_error = None, f"onboarding: {run.failed.get('onboarding', 'incomplete')}"
    if not run.product:
        run.tenants = tokens.self_made(o.tenants, BASE_DOMAIN)
        if not o.baselines_only:
            for part in set(o.parts) - life.OWN_GROUND:
                run.failed.setdefault(part, f"businessos: {run.product_error}")
    run.files = tokens.TokenFiles(run.servers.directory / "tokens", run.tenants)
    run.files.write_for_gateways()


def measure(run):
    """All chosen parts, in an order in which none disturbs the next: idle before load, the many tenants last."""
    o, chosen = run.options, set(run.options.parts)
    bound = 120 + 60 * (o.rounds + 1) + 10 * o.seconds * (o.rounds + o.latency_rounds + 5)
    if run.product and chosen & {"start", "memory"}:
        attempt(run, "start", 300, life.restarts)
    if run.product and "memory" in chosen:
        attempt(run, "memory", 60, life.idle_memory)
    if chosen & ({"throughput"} | NEEDS_RATES):
        attempt(run, "gateways", 300, traffic.start_gateways)
        attempt(run, "throughput", bound, traffic.throughput)
    if "latency" in chosen:
        attempt(run, "latency", bound, traffic.latency)
    for name in [key for key in run.gateways if key not in ("upstream", "businessos")]:
        run.servers.stop(run.gateways[name].process)
    if run.product:
        for part, work in (("memory", traffic.busy_memory), ("signin", life.sign_in), ("refresh", life.refresh), ("validate", life.validate),
                           ("storm", life.storm), ("metered", metering.metered), ("usage", usage.usage), ("admins", metering.admins), ("scim", scim.scim)):
            if part in chosen:
                attempt(run, part, bound, work)
        if "tenants" in chosen:
            attempt(run, "tenants", bound + o.many_tenants, traffic.many_tenants)
    if run.product:
        run.product.stop()  # what follows is on its own ground
    if "closing" in chosen:
        attempt(run, "closing", 600 + o.closing_tenants * 0.2, closing.closing)
    if "invoices" in chosen:
        attempt(run, "invoices", 300 + o.pdfs, closing.invoices)
    if "tenant_tx" in chosen:
        attempt(run, "tenant_tx", 240, life.tenant_tx)
    for part in set(PARTS) - chosen:
        run.skipped.setdefault(part, "not chosen")


def main():
    options = parse(sys.argv[1:])
    if options.docs:
        try:
            report.read_document(options.docs)
        except ValueError as e:
            sys.exit(f"bench/run.py: {e}")
    install()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    about = machine.describe(options)
    directory = Path(tempfile.mkdtemp(prefix="businessos-bench-"))
    directory.chmod(0o711)  # servers that drop root still have to pass through
    servers = Servers(directory)
    run = Run(options, servers, Bench(servers, options.threads))
    try:
        attempt(run, "preparation", 3600 + options.tenants, prepare)
        if run.files:
            measure(run)
    except KeyboardInterrupt:
        say("interrupted: stopping everything")
        return 130
    finally:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)  # a second ctrl-C must not leave servers behind
        servers.stop_all()
        if options.keep:
            say(f"logs and configurations: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    text = report.markdown(run, about)
    print("\n" + text + "\n")
    say(f"raw figures: {report.write_json(run, about)}")
    if options.docs:
        report.write_document(options.docs, text)
        say(f"written: {options.docs}")
    failed = bool(run.failed or run.raw.get("gateway_errors"))
    return 1 if failed else 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
