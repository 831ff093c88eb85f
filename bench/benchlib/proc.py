"""Processes of a run: started with a deadline, watched, and all stopped at the end, whatever happened."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


class StepFailed(Exception):
    """A step of the benchmark did not do what it must; the message is for the report."""


def free_port():
    """A loopback port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tail(path, lines=5):
    """The last lines of a log, for error messages."""
    with contextlib.suppress(OSError):
        return " | ".join(Path(path).read_text(errors="replace").strip().splitlines()[-lines:])
    return ""


class Process:
    """One server: its process group, its log (standard output and standard error apart, or in one file)."""

    def __init__(self, name, command, directory, env=None, one_log=False):
        self.name, self.command, self.directory = name, command, Path(directory)
        self.log = self.directory / f"{name}.log"
        self.errors = self.log if one_log else self.directory / f"{name}.err"
        # The log is opened for appending, so that it can be emptied between rounds while the server writes to it.
        with open(self.log, "ab") as out, open(self.errors, "ab") as err:
            self.child = subprocess.Popen(
                dies_with_us(command), stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=directory,
                env={**os.environ, **(env or {})}, start_new_session=True,
            )

    @property
    def pid(self):
        return self.child.pid

    def check_alive(self):
        if self.child.poll() is not None:
            raise StepFailed(f"{self.name} ended with {self.child.returncode}: {tail(self.errors) or tail(self.log)}")

    def wait_until(self, ready, deadline_s, pause_s=0.02):
        """Polls `ready` until it is true; raises if the process ends or the deadline passes first."""
        end = time.monotonic() + deadline_s
        while True:
            self.check_alive()
            if ready():
                return
            if time.monotonic() > end:
                raise StepFailed(f"{self.name} was not ready within {deadline_s} s: {tail(self.errors) or tail(self.log)}")
            time.sleep(pause_s)

    def stop(self, grace_s=15):
        """SIGTERM to the process, then SIGKILL to what is left of its group."""
        if self.child.poll() is None:
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(5)

    def take_log(self):
        """Number of lines logged since the last call; empties the log."""
        time.sleep(0.3)
        with open(self.log, "rb") as f:
            lines = sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b""))
        os.truncate(self.log, 0)
        return lines


def dies_with_us(command):
    """The command, asked to end when this program is killed so hard that it cannot clean up."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *map(str, command)] if setpriv else list(map(str, command))


class Servers:
    """What a run has started, in order; `stop_all` stops it in reverse."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.running = []

    def start(self, name, command, ready, deadline_s=20, env=None, pause_s=0.02, one_log=False):
        process = Process(name, command, self.directory, env, one_log)
        self.running.append(process)
        process.wait_until(ready, deadline_s, pause_s)
        return process

    def stop(self, process):
        process.stop()
        self.running = [p for p in self.running if p is not process]

    def stop_all(self):
        for process in reversed(self.running):
            process.stop()
        self.running = []
        stop_orphaned_clusters(self.directory)


def stop_orphaned_clusters(directory):
    """Stops a PostgreSQL whose server was killed before it could stop it; known by its data directory below ours."""
    for pid_file in Path(directory).rglob("postmaster.pid"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(pid_file.read_text().splitlines()[0])
            if str(directory) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGQUIT)
                wait_gone(pid, 10)


def wait_gone(pid, deadline_s):
    end = time.monotonic() + deadline_s
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)


def run(command, deadline_s, **options):
    """Runs a tool to its end and gives its standard output; raises `StepFailed` on a failure or at the deadline."""
    name = Path(str(command[0])).name
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=deadline_s, **options)
    except subprocess.TimeoutExpired:
        raise StepFailed(f"{name} did not end within {deadline_s:.0f} s") from None
    except OSError as e:
        raise StepFailed(f"{name} cannot be run: {e.strerror}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise StepFailed(f"{name} ended with {done.returncode}: {' | '.join(last)}")
    return done.stdout


def get(port, path, headers=None, timeout_s=5):
    """GET on loopback: (status, body); status 0 if nothing answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()
    except OSError:
        return 0, b""


def listens(port):
    """Whether something accepts connections on the port."""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def descendants(pid):
    """Ids of a process and all below it."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, parent = re.match(r"(\d+) \(.*\) \S (\d+)", stat.read_text(), re.S).groups()
            children.setdefault(int(parent), []).append(int(number))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue.extend(children.get(found[-1], []))
    return found
