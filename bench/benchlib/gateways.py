"""The upstream and the gateways it is compared through; each is checked to do what its row says before it is measured."""

import json
import os
import shutil
import string
from dataclasses import dataclass
from pathlib import Path

from .proc import Process, StepFailed, free_port, get, listens

HERE = Path(__file__).resolve().parent.parent
BASE_DOMAIN = "localhost"
BODY = json.dumps({"items": "x" * 1011}).replace(" ", "")  # 1,024 bytes
LIMIT = 100_000_000  # requests a minute: the limiters count every request and refuse none


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "businessos" / "bench"


def fill(template, target, **values):
    """Writes a configuration from a template."""
    text = string.Template((HERE / "templates" / template).read_text()).substitute(values)
    Path(target).write_text(text)
    return target


def tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise StepFailed(f"{name} is not installed: run bench/setup.sh")
    return path


@dataclass
class Gateway:
    """One candidate: where it listens and what it claims to do."""

    key: str
    title: str
    port: int
    process: Process
    verifies: bool = True  # a wrong signature is refused
    has_rules: bool = True  # tenant, claims, limit, headers, log


class Bench:
    """Starts the upstream and the gateways with the same number of threads each."""

    def __init__(self, servers, threads):
        self.servers, self.threads, self.directory = servers, threads, servers.directory
        self.upstream_port = None

    def start_upstream(self):
        self.upstream_port = free_port()
        config = fill("upstream.conf", self.directory / "upstream.conf", dir=self.directory, port=self.upstream_port,
                      threads=self.threads, body=BODY)
        process = self._nginx("upstream", config, self.upstream_port)
        if get(self.upstream_port, "/crm/items") != (200, BODY.encode()):
            raise StepFailed("the upstream does not answer as configured")
        return Gateway("upstream", "upstream alone (no gateway)", self.upstream_port, process, verifies=False, has_rules=False)

    def start_nginx(self):
        port = free_port()
        config = fill("nginx.conf", self.directory / "nginx.conf", dir=self.directory, port=port, threads=self.threads,
                      upstream_port=self.upstream_port)
        process = self._nginx("nginx", config, port)
        return Gateway("nginx", "nginx, bare reverse proxy", port, process, verifies=False, has_rules=False)

    def start_haproxy(self, files, verifies):
        name, port = ("haproxy-jwt" if verifies else "haproxy-rules"), free_port()
        config = fill("haproxy.cfg", self.directory / f"{name}.cfg", dir=files.directory, port=port, threads=self.threads,
                      upstream_port=self.upstream_port, limit=LIMIT, preload=files.haproxy_preload() if verifies else "")
        if not verifies:
            lines = config.read_text().splitlines(keepends=True)
            kept = [line for line in lines if "# VERIFY" not in line]
            if len(kept) != len(lines) - 1:
                raise StepFailed("the HAProxy template must have exactly one VERIFY line")
            config.write_text("".join(kept))
        process = self.servers.start(name, [tool("haproxy"), "-db", "-f", config], lambda: listens(port), 60)
        title = "HAProxy, ES256 verified for each request" if verifies else "HAProxy, same rules, signature not checked"
        return Gateway(name, title, port, process, verifies=verifies)

    def start_express(self, files, workers):
        name, port = ("express-cluster" if workers > 1 else "express-single"), free_port()
        modules = cache_directory() / "node_modules"
        if not (modules / "express").is_dir():
            raise StepFailed("the Express stack is not installed: run bench/setup.sh")
        home = self.directory / "express"
        if not home.exists():
            home.mkdir()
            (home / "node_modules").symlink_to(modules)
            shutil.copy(HERE / "express" / "gateway.mjs", home)
        env = {"NODE_ENV": "production", "PORT": str(port), "UPSTREAM": f"http://127.0.0.1:{self.upstream_port}/crm",
               "TENANTS": str(files.json), "WORKERS": str(workers), "LIMIT": str(LIMIT), "BASE_DOMAIN": BASE_DOMAIN}
        process = self.servers.start(name, [tool("node"), home / "gateway.mjs"], lambda: listens(port), 60, env)
        title = f"Express stack, cluster of {workers}" if workers > 1 else "Express stack, one process"
        return Gateway(name, title, port, process)

    def _nginx(self, name, config, port):
        # -e: without it nginx first tries the distribution's error log, which an ordinary user may not open.
        command = [tool("nginx"), "-p", self.directory, "-e", "stderr", "-c", config]
        return self.servers.start(name, command, lambda: listens(port))


def check(gateway, tenants):
    """Proves that a gateway does its row's work: tokens, tenant match, injected headers. A wrong answer fails the row."""
    one, other = tenants[0], tenants[1]

    def call(host, token, path="/crm/items", extra=None):
        return get(gateway.port, path, {"Host": host, "Authorization": f"Bearer {token}", **(extra or {})})

    status, body = call(one["host"], one["token"])
    if (status, body) != (200, BODY.encode()):
        raise StepFailed(f"{gateway.key} answers a good request with {status}: {body[:200]!r}")
    if not gateway.has_rules:
        return
    head, payload, signature = one["token"].split(".")
    forged = f"{head}.{payload}.{('A' if signature[0] != 'A' else 'B') + signature[1:]}"
    expected = [(one["host"], forged, (401,))] if gateway.verifies else []
    # Without a signature check the other tenant's token still names the other tenant; with one, either answer is right.
    expected += [(one["host"], other["token"], (401, 403)), (f"nobody-here.{BASE_DOMAIN}", one["token"], (401, 403, 404))]
    for host, token, allowed in expected:
        status, _ = call(host, token)
        if status not in allowed:
            raise StepFailed(f"{gateway.key} answers {status} where one of {allowed} is due (host {host})")
    status, body = call(one["host"], one["token"], "/crm/echo", {"X-Tenant-Id": "spoofed", "X-User-Id": "spoofed"})
    try:
        seen = json.loads(body)
    except ValueError:
        raise StepFailed(f"{gateway.key}: the upstream's echo did not come through ({status})") from None
    if seen["tenant"] != one["id"] or not seen["request"] or seen["user"] in ("", "spoofed"):
        raise StepFailed(f"{gateway.key} injects wrong headers: {seen}")
