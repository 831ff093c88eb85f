"""State that the parts of one run share, and how a part is run: with a deadline, and never lost silently."""

import contextlib
import signal
import statistics
import time
import traceback
from dataclasses import dataclass, field

from .proc import StepFailed


class OutOfTime(Exception):
    """A part's deadline passed; not a `StepFailed`, so that no inner step takes it for its own failure and goes on."""


@dataclass
class Run:
    """One run: its options, what it started, and what it has measured so far."""

    options: object
    servers: object
    bench: object
    pacer: object = None
    product: object = None
    product_error: str = ""
    tenants: list = field(default_factory=list)
    files: object = None
    gateways: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    skipped: dict = field(default_factory=dict)
    raw: dict = field(default_factory=dict)
    rates: dict = field(default_factory=dict)

    def put(self, key, value, note=""):
        self.values[key] = value
        if note:
            self.notes[key] = note


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


@contextlib.contextmanager
def deadline(seconds, what):
    """Raises `OutOfTime` in the main thread when the block takes longer; the outermost bound of every part."""

    def late(*_):
        raise OutOfTime(f"{what} did not end within {seconds:.0f} s")

    before, began = signal.signal(signal.SIGALRM, late), time.monotonic()
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # Back to the enclosing block's bound, less the time that has passed; at once if it passed meanwhile.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, outer - (time.monotonic() - began)))


def attempt(run, part, seconds, work):
    """Runs one part; its failure is remembered for the report and does not end the run."""
    say(part)
    try:
        with deadline(seconds, part):
            work(run)
    except (StepFailed, OutOfTime) as e:
        run.failed[part] = "; ".join(filter(None, [run.failed.get(part), str(e)]))
        say(f"{part} FAILED: {e}")
    except Exception as e:  # a defect of this program must not hide the parts that worked
        run.failed[part] = f"{type(e).__name__}: {e}"
        say(f"{part} FAILED:\n{traceback.format_exc()}")


def median(values):
    return statistics.median(values)


def percentile(sorted_values, share):
    """Nearest-rank percentile of a sorted list."""
    return sorted_values[max(0, min(len(sorted_values) - 1, -(-len(sorted_values) * share // 100) - 1))]
