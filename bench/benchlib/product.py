"""businessos in the benchmark: configuration, start and stop, onboarding, tokens, sign-in load."""

import http.client
import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import tokens
from .gateways import BASE_DOMAIN, LIMIT, Gateway, fill
from .proc import StepFailed, free_port, get, stop_orphaned_clusters
from .proc import run as run_tool


class Product:
    """One installation in a directory of its own, which several processes use one after the other."""

    def __init__(self, servers, binary, threads, upstream_port, name="product", env=None):
        self.servers, self.binary, self.env = servers, binary, env
        self.directory = servers.directory / name
        self.directory.mkdir()
        self.directory.chmod(0o755)  # PostgreSQL runs as another user when we are root
        self.port, self.admin_port = free_port(), free_port()
        self.config = fill("businessos.toml", self.directory / "config.toml", dir=self.directory, port=self.port,
                           admin_port=self.admin_port, upstream_port=upstream_port, base_domain=BASE_DOMAIN, limit=LIMIT,
                           threads=threads)
        self.process = None

    def start(self, deadline_s=60, ready=None, pause_s=0.02):
        """Starts the server; gives the seconds until it was ready."""
        began = time.monotonic()
        self.process = self.servers.start("businessos", [self.binary, "serve", "--config", self.config],
                                          ready or (lambda: get(self.port, "/readyz")[0] == 200), deadline_s, env=self.env, pause_s=pause_s, one_log=True)
        return time.monotonic() - began

    def stop(self):
        self.servers.stop(self.process)
        stop_orphaned_clusters(self.directory)

    def transactions(self):
        """Transactions of the server's database so far, by PostgreSQL's own count (a moment late)."""
        time.sleep(1.5)
        return int(self.query("SELECT sum(xact_commit + xact_rollback)::bigint FROM pg_stat_database"
                              " WHERE datname NOT LIKE 'template%' AND datname <> 'postgres'", "postgres"))

    def socket(self):
        """Where the embedded cluster listens."""
        return (self.directory / "data" / "postgres" / "socket_dir").read_text().strip()

    def query(self, sql, database="businessos", deadline_s=20):
        """The one value that a query of the embedded cluster's superuser answers, as text."""
        command = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.socket(), "-U", "postgres", "-d", database, "-c", sql]
        return run_tool(command, deadline_s).strip()

    def gateway(self):
        return Gateway("businessos", "**businessos**", self.port, self.process)

    def seconds_to_first_answer(self, tenant):
        """Starts on the existing cluster; seconds to the first 200 of /healthz and of a proxied, authenticated request."""
        first = {}
        headers = {"Host": tenant["host"], "Authorization": f"Bearer {tenant['token']}"}
        began = time.monotonic()

        def ready():
            if "healthz" not in first and get(self.port, "/healthz", timeout_s=1)[0] == 200:
                first["healthz"] = time.monotonic() - began
            if "healthz" in first and get(self.port, "/crm/items", headers, timeout_s=1)[0] == 200:
                first["proxied"] = time.monotonic() - began
            return "proxied" in first

        self.start(30, ready, pause_s=0.002)
        return first


class Client:
    """A keep-alive connection for JSON calls, one for each thread."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def connect(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.connection.connect()

    def post(self, host, path, body):
        """(status, answer, milliseconds); one new try if the kept connection had been closed."""
        payload = json.dumps(body)
        for attempt in (1, 2):
            if self.connection is None:
                self.connect()
            began = time.monotonic()
            try:
                self.connection.request("POST", path, payload, {"Host": host, "Content-Type": "application/json"})
                answer = self.connection.getresponse()
                content = answer.read()
                took = (time.monotonic() - began) * 1000
                if answer.getheader("connection", "").lower() == "close":
                    self.close()
                return answer.status, json.loads(content) if content else {}, took
            except (http.client.RemoteDisconnected, ConnectionError):
                self.close()
                if attempt == 2:
                    raise StepFailed(f"POST {path}: the connection was closed without an answer") from None
            except (OSError, ValueError) as e:
                self.close()
                raise StepFailed(f"POST {path}: {type(e).__name__}") from None

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def each(port, items, work, at_once, deadline_s, what):
    """Runs `work(client, item)` over all items with a fixed number of connections; the results in order."""
    local, end = threading.local(), time.monotonic() + deadline_s

    def one(item):
        if time.monotonic() > end:
            raise StepFailed(f"{what}: not done within {deadline_s:.0f} s")
        if not hasattr(local, "client"):
            local.client = Client(port)
        return work(local.client, item)

    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(one, items))
    finally:
        pool.shutdown(cancel_futures=True)


def seed_over_http(product, count, deadline_s, prefix="bench"):
    """Onboards tenants through the public call, two at a time; gives (tenants without tokens, milliseconds of each call)."""

    def onboard(client, n):
        slug, password = f"{prefix}-{n}", secrets.token_urlsafe(18)
        email = f"owner@{slug}.example"
        status, answer, took = client.post(BASE_DOMAIN, "/tenants/onboard", {
            "name": f"Bench {n}", "subdomain": slug, "admin": {"email": email, "password": password}})
        if status != 201:
            raise StepFailed(f"onboarding answered {status}: {json.dumps(answer)[:200]}")
        tenant = answer["tenant"]
        return {"id": tenant["id"], "slug": slug, "host": f"{slug}.{BASE_DOMAIN}", "plan": tenant["plan"], "region": tenant["region"],
                "email": email, "password": password}, took

    done = each(product.port, range(count), onboard, 2, deadline_s, "onboarding")
    return [tenant for tenant, _ in done], [took for _, took in done]


# Ways to create tenants: each gives (tenants, milliseconds of each onboarding call; empty if there were none). A quicker
# way, such as copying rows into the tables, is one more entry; its tenants must be able to sign in with their password.
SEEDERS = {"http": seed_over_http}


def login(client, tenant):
    """Signs in and gives (status, answer, milliseconds)."""
    return client.post(tenant["host"], "/auth/login", {"email": tenant["email"], "password": tenant["password"]})


def add_tokens(product, tenants, deadline_s):
    """Gives every tenant an access token of its own user and the public key that verifies it."""

    def one(client, tenant):
        for _ in range(50):
            status, answer, _took = login(client, tenant)
            if status not in (429, 503):
                break
            time.sleep(0.2)
        if status != 200 or "access_token" not in answer:
            raise StepFailed(f"sign-in answered {status}: {json.dumps(answer)[:200]}")
        tenant["token"] = answer["access_token"]
        head = tokens.header_of(tenant["token"])
        if head.get("alg") != "ES256":
            raise StepFailed(f"expected ES256 tokens for the comparison, found {head.get('alg')}")
        status, body = get(product.port, "/.well-known/jwks.json", {"Host": tenant["host"]})
        if status != 200:
            raise StepFailed(f"the JWKS of {tenant['host']} answered {status}")
        tenant["pem"] = tokens.pem_from_jwks(json.loads(body), head.get("kid"))

    each(product.port, tenants, one, 2, deadline_s, "sign-in of all tenants")


def sign_in_for(product, tenants, seconds, at_once):
    """Signs in as fast as the server answers for some seconds: sign-ins, refusals (429, 503), seconds, sorted milliseconds."""
    end, took, refused, wrong, lock = time.monotonic() + seconds, [], [0], [], threading.Lock()
    began = time.monotonic()

    def worker(number):
        client, n = Client(product.port), number
        try:
            while time.monotonic() < end and not wrong:
                status, answer, ms = login(client, tenants[n % len(tenants)])
                n += at_once
                if status in (429, 503):
                    time.sleep(0.05)  # a client that comes straight back would only measure refusals
                with lock:
                    if status == 200:
                        took.append(ms)
                    elif status in (429, 503):
                        refused[0] += 1
                    else:
                        wrong.append(f"sign-in answered {status}: {json.dumps(answer)[:200]}")
        except StepFailed as e:
            wrong.append(str(e))
        finally:
            client.close()

    workers = [threading.Thread(target=worker, args=(n,), daemon=True) for n in range(at_once)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(seconds + 60)
    if wrong:
        raise StepFailed(wrong[0])
    return {"sign_ins": len(took), "refused": refused[0], "seconds": time.monotonic() - began, "ms": sorted(took)}
