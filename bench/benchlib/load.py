"""Load: wrk for the highest throughput, our own pacer for latency at a constant rate; both bounded in time."""

import json
import shutil
from pathlib import Path

from .proc import StepFailed, run

HERE = Path(__file__).resolve().parent.parent
PATH = "/crm/items"


def build_pacer(directory):
    """Compiles the pacer and gives its path."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise StepFailed("no C compiler for the pacer: run bench/setup.sh")
    pacer = Path(directory) / "pacer"
    run([compiler, "-O2", "-Wall", "-o", pacer, HERE / "load" / "pacer.c"], 60)
    return pacer


def throughput(port, pairs, connections, seconds, threads, path=PATH):
    """Requests a second that wrk gets through, with its latencies; raises if anything but 200 comes back."""
    threads = min(threads, connections)
    return _wrk("rotate.lua", port, path, connections, seconds, threads, [pairs, threads])


def refreshes(port, sessions, n_sessions, seconds):
    """Refreshes a second, each of so many sessions sending its next one when the last is answered."""
    return _wrk("refresh.lua", port, "/auth/refresh", n_sessions, seconds, n_sessions, [sessions])


def _wrk(script, port, path, connections, seconds, threads, arguments):
    out = run(
        ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", HERE / "load" / script,
         f"http://127.0.0.1:{port}{path}", "--", *arguments],
        seconds + 60,
    )
    line = next((line for line in out.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise StepFailed(f"wrk said nothing usable: {out.strip()[-200:]}")
    result = json.loads(line.removeprefix("RESULT "))
    wrong = {kind: n for kind, n in result["errors"].items() if n}
    if result["requests"] == 0:
        raise StepFailed("wrk had no answer at all")
    if wrong:
        raise StepFailed(f"wrk saw errors among {result['requests']} requests: {wrong}")
    result["per_second"] = result["requests"] / (result["duration_us"] / 1e6)
    return result


def paced(pacer, port, pairs, rate, seconds, connections=64, must_reach=True):
    """Latencies at a constant rate; raises if anything but 200 came back or, unless told otherwise, the rate was not reached.

    Where it need not be reached, the requests that found no answer are in the latencies with the time they waited.
    """
    rate = max(1, int(rate))
    result = json.loads(run([pacer, port, PATH, pairs, connections, rate, seconds], seconds + 30))
    if result["status_errors"] or result["broken"]:
        raise StepFailed(f"the pacer saw {result['status_errors']} wrong answers and {result['broken']} broken connections")
    if must_reach and result["answers"] < 0.97 * result["due"]:
        raise StepFailed(f"{rate}/s were not reached: {result['answers']} answers of {result['due']} due")
    return result
