"""What a reader needs to judge the figures: the machine, the versions, the command."""

import json
import os
import platform
import re
import shlex
import sys
import time
from pathlib import Path

from .gateways import cache_directory, tool
from .proc import StepFailed, run

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def command():
    """How the run was asked for, without this machine's directories."""
    words = [os.path.basename(word) if os.path.isabs(word) else word for word in sys.argv[1:]]
    return shlex.join(["python3", "bench/run.py", *words])


def describe(options):
    cpu = re.search(r"^model name\s*: (.*)$", _text("/proc/cpuinfo"), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _text("/proc/meminfo"), re.M)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": command(),
        "cores": options.cores,
        "threads": options.threads,
        "cpu": cpu.group(1).strip() if cpu else platform.machine(),
        "memory_gb": round(int(memory.group(1)) / 1024 / 1024, 1) if memory else None,
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": _versions(options),
    }


def _versions(options):
    found = {
        "businessos": _ask([options.binary, "--version"], r"(\S+)\s*$") if Path(options.binary).is_file() else None,
        "commit": _ask(["git", "-C", REPOSITORY, "describe", "--always", "--dirty"], r"(\S+)"),
        "HAProxy": _ask([tool_or_none("haproxy"), "-v"], r"version (\S+)"),
        "nginx": _ask(["/bin/sh", "-c", f"{tool_or_none('nginx')} -v 2>&1"], r"nginx/(\S+)"),
        "wrk": _ask(["/bin/sh", "-c", "wrk -v 2>&1 || true"], r"wrk (\S+)"),
        "Node.js": _ask(["node", "--version"], r"v(\S+)"),
        "PostgreSQL": _ask(["/bin/sh", "-c", "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1 | xargs -I{} {}/postgres --version"], r"\) (\S+)"),
    }
    for library in ("express", "helmet", "cors", "express-rate-limit", "http-proxy-middleware", "jsonwebtoken"):
        manifest = _text(cache_directory() / "node_modules" / library / "package.json")
        found[library] = json.loads(manifest)["version"] if manifest else None
    return {name: version for name, version in found.items() if version}


def tool_or_none(name):
    try:
        return tool(name)
    except StepFailed:
        return "false"


def _ask(command, pattern):
    try:
        found = re.search(pattern, run(command, 10))
    except StepFailed:
        return None
    return found.group(1) if found else None


def _text(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""
