"""Memory of processes, from /proc: resident size, and PSS, which counts a page shared by n processes 1/n to each."""

import contextlib
import re
import threading
from pathlib import Path

from .proc import descendants

MB = 1024  # /proc speaks in kB


def _kilobytes(path, key):
    with contextlib.suppress(OSError):
        found = re.search(rf"^{key}:\s+(\d+) kB", Path(path).read_text(), re.M)
        return int(found.group(1)) if found else None
    return None


def of_process(pid):
    """`{rss_mb, pss_mb}` of one process; PSS is None where the kernel does not show it to this user."""
    rss, pss = _kilobytes(f"/proc/{pid}/status", "VmRSS"), _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss")
    return {"rss_mb": None if rss is None else rss / MB, "pss_mb": None if pss is None else pss / MB}


def of_postgres_below(pid, data_dir):
    """PSS sum of the embedded PostgreSQL: its processes are the server's children, or are found by their data directory."""
    roots = {p for p in descendants(pid) if p != pid and _name(p).startswith("postgres")}
    for pid_file in Path(data_dir).rglob("postmaster.pid"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            roots.update(descendants(int(pid_file.read_text().splitlines()[0])))
    sizes = {p: of_process(p)["pss_mb"] for p in roots if Path(f"/proc/{p}").exists()}
    if not sizes:
        return None
    # A backend that ended between the two looks has no figure; one that may not be read makes the sum unknown.
    if any(size is None and Path(f"/proc/{p}").exists() for p, size in sizes.items()):
        return None
    return {"pss_mb": sum(size for size in sizes.values() if size is not None), "processes": len(sizes)}


def _name(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


class Peak:
    """Looks at a process four times a second while a block runs, and remembers the largest sizes."""

    def __init__(self, pid):
        self.pid, self.largest, self._end = pid, {"rss_mb": None, "pss_mb": None}, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._end.wait(0.25):
            for key, value in of_process(self.pid).items():
                if value is not None and value > (self.largest[key] or 0):
                    self.largest[key] = value

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(2)
