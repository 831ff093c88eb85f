"""The report: tables for the terminal and for docs/benchmarks.md, raw figures as JSON."""

import json
import time
from pathlib import Path

from .rows import judge
from .session import median

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BEGIN, END = "<!-- bench:begin, written by bench/run.py -->", "<!-- bench:end -->"
PREFACE = f"""# Benchmarks

What is measured, how, and what is fair about it, is in [bench/README.md](../bench/README.md). `make bench` rewrites the
part between the markers.

{BEGIN}
{END}
"""


def number(value):
    """A figure with about three digits that mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head, rows):
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells)


def targets(rows):
    return table(["what", "measured", "target", "verdict", "note"], [
        [r["what"], "–" if r["value"] is None else f"{number(r['value'])} {r['unit']}".strip(), r["target"], f"**{r['verdict']}**", r["note"]]
        for r in rows])


def gateways(run):
    """All gateways side by side; a gateway that did not run has a line that says why."""
    lines = []
    for key, rounds in run.raw.get("throughput", {}).items():
        rates = [r["per_second"] for r in rounds]
        paced = run.raw.get("latency", {}).get(key)
        added = [number(median([r["added"][p] for r in paced])) if paced else "–" for p in ("p50", "p99")]
        through = [number(median([r["through"][f"{p}_us"] for r in paced])) if paced else "–" for p in ("p50", "p99")]
        lines.append((median(rates), [run.gateways[key].title, number(median(rates)), f"{number(min(rates))} to {number(max(rates))}",
                                      number(median([r["p99_us"] for r in rounds])), *through, *added]))
    lines.sort(key=lambda line: -line[0])
    failed = [[key, "**failed**", reason, "–", "–", "–", "–", "–"] for key, reason in run.raw.get("gateway_errors", {}).items()]
    head = ["gateway", "requests/s", "range", "p99 at full load, µs", "p50 at half load, µs", "p99", "added p50, µs", "added p99"]
    return table(head, [line for _, line in lines] + failed)


def markdown(run, machine):
    options = run.options
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    busy = ""
    if machine["load_before"] > 0.3 * machine["cores"]:
        busy = f" **The machine was busy before the run (load {machine['load_before']}): the figures are low and noisy.**"
    own_tokens = "" if run.product else (
        f" Without businessos ({run.product_error}); the tokens are self-made, with the same claims and algorithm.")
    parts = [
        f"{machine['date']}, `{machine['command']}`: {machine['cores']} cores, {machine['cpu']}, {machine['memory_gb']} GB of memory, Linux "
        f"{machine['kernel']}. {versions}.{busy}{own_tokens}",
        f"Everything, load generator included, shares the machine; each gateway has {machine['threads']} threads. {len(run.tenants):,} tenants' "
        f"tokens in rotation, 64 connections, 1 KB answers. Medians of {options.rounds} alternating rounds of {options.seconds} s for throughput and "
        f"{options.latency_rounds} for latency; ratios are medians of the rounds' ratios.",
    ]
    rows = [r for r in judge(run) if r["part"] in options.parts]
    if not options.baselines_only:
        parts += ["## Targets", targets(rows)]
    if "throughput" in run.raw or "gateway_errors" in run.raw:
        parts += ["## Gateways side by side", gateways(run)]
    shown = set() if options.baselines_only else {r[field] for r in rows for field in ("part", "key")}
    others = {step: reason for step, reason in run.failed.items() if step not in shown}
    if others:
        parts += ["## Steps that failed", table(["step", "reason"], [[step, reason] for step, reason in others.items()])]
    return "\n\n".join(parts)


def write_json(run, machine):
    directory = REPOSITORY / "bench" / "results"
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    target.write_text(json.dumps({"machine": machine, "options": vars(run.options), "rows": judge(run), "failed": run.failed, "raw": run.raw},
                                 indent=1, default=str))
    return target


def read_document(path):
    """What stands before and after the markers; raises `ValueError` if they are not there, each once and in order."""
    text = Path(path).read_text() if Path(path).exists() else PREFACE
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{path} must have the lines {BEGIN} and {END}, each once and in order")
    return text.split(BEGIN)[0], text.split(END)[1]


def write_document(path, text):
    """Replaces what is between the markers, and nothing else."""
    before, after = read_document(path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
