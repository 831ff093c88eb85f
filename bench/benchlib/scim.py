"""The part about SCIM: what identity providers of several tenants get through while the gateway has all it can do."""

import json
import threading
import time

from . import load
from .product import Client, login
from .proc import StepFailed
from .session import percentile, say

TENANTS = 4
RATE = 30  # requests a second of each tenant, so that a server that keeps up shows more than the target
CONNECTIONS = 8  # of each tenant; so many that one slow answer does not hold up the requests that are due after it
WARM_UP_S = 2
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def scim(run):
    """wrk alone, then wrk with the providers beside it, each tenant's requests at a constant rate and timed from when they were due."""
    options, product = run.options, run.product
    tenants = run.tenants[:TENANTS]
    tokens = [_token(product, tenant) for tenant in tenants]
    alone = load.throughput(product.port, run.files.pairs, 64, options.seconds, options.threads)
    product.process.take_log()
    beside, failed = [], []

    def gateway_load():
        try:
            beside.append(load.throughput(product.port, run.files.pairs, 64, options.seconds + WARM_UP_S, options.threads))
        except StepFailed as e:
            failed.append(str(e))

    thread = threading.Thread(target=gateway_load, daemon=True)
    thread.start()
    time.sleep(WARM_UP_S)
    answers = _provision(product.port, tenants, tokens, options.seconds)
    thread.join(options.seconds + 90)
    product.process.take_log()
    if failed or not beside:
        raise StepFailed(failed[0] if failed else "wrk did not end")
    rates = [len(a["ms"]) / a["seconds"] for a in answers]
    ms = sorted(each for a in answers for each in a["ms"])
    per_second = {"alone": alone["per_second"], "beside": beside[0]["per_second"]}
    run.raw["scim"] = {"rates": rates, "n": len(ms), "p50_ms": percentile(ms, 50), "p99_ms": percentile(ms, 99), "gateway": per_second}
    refused = sum(a["refused"] for a in answers)
    run.raw["scim"]["refused"] = refused
    run.put("scim_rate", min(rates), f"the slowest of {TENANTS} tenants, {RATE}/s due for each; {len(ms):,} right answers, {refused:,} refused (429, 503)")
    run.put("scim_p50", percentile(ms, 50), "create, read, patch, find, switch off; from when each was due")
    run.put("scim_p99", percentile(ms, 99), f"gateway meanwhile {per_second['beside']:,.0f} requests/s, {per_second['alone']:,.0f} alone")
    say(f"  {min(rates):.1f} to {max(rates):.1f} SCIM requests/s for each of {TENANTS} tenants, p99 {percentile(ms, 99):.0f} ms")


def _token(product, tenant):
    """A SCIM token that the tenant's owner makes. The second factor, which that asks for, is written into the session instead of shown."""
    client = Client(product.port)
    try:
        status, session, _took = login(client, tenant)
        if status != 200:
            raise StepFailed(f"sign-in answered {status}")
        product.query("UPDATE auth.sessions SET acr = 'aal2', mfa_time = clock_timestamp() WHERE revoked_at IS NULL"
                      f" AND tenant_id = '{tenant['id']}'")
        status, session, _took = client.post(tenant["host"], "/auth/refresh", {"refresh_token": session["refresh_token"]})
        if status != 200:
            raise StepFailed(f"the refresh answered {status}: {json.dumps(session)[:200]}")
        head = {"Host": tenant["host"], "Content-Type": "application/json", "Authorization": f"Bearer {session['access_token']}"}
        client.connection.request("POST", "/scim/tokens", json.dumps({"name": f"bench {time.time():.3f}"}), head)
        answer = client.connection.getresponse()
        text = answer.read()
        if answer.status != 201:
            raise StepFailed(f"POST /scim/tokens answered {answer.status}: {text[:200]!r}")
        return json.loads(text)["secret"]
    finally:
        client.close()


def _cycle(prefix):
    """What a provider does to one user after the other: method, path, body and the status that answers it; `{id}` is the user's."""
    number = 0
    while True:
        name = f"{prefix}-{number}@provider.example"
        yield "POST", "/scim/v2/Users", {"schemas": [USER], "userName": name, "active": True, "name": {"givenName": "Ann", "familyName": "Bench"},
                                         "emails": [{"value": name, "type": "work", "primary": True}]}, 201
        yield "GET", "/scim/v2/Users/{id}", None, 200
        yield "PATCH", "/scim/v2/Users/{id}", {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "displayName", "value": f"Ann {number}"}]}, 200
        yield "GET", f"/scim/v2/Users?filter=userName%20eq%20%22{name}%22", None, 200
        yield "PATCH", "/scim/v2/Users/{id}", {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]}, 200
        number += 1


def _provision(port, tenants, tokens, seconds):
    """Every tenant's requests over connections of its own; for each tenant the milliseconds of the right answers, and how long it took.

    What is refused (429, 503) counts as not served, and the provider goes on with another user: whether it was done is not known.
    """
    stamp = f"{time.time():.0f}"
    took = [[[] for _ in range(CONNECTIONS)] for _ in tenants]
    ends, refused, wrong = [[0.0] * CONNECTIONS for _ in tenants], [[0] * CONNECTIONS for _ in tenants], []
    gate = threading.Barrier(len(tenants) * CONNECTIONS + 1)
    began = [0.0]

    def worker(of, number):
        client, user = Client(port), ""
        head = {"Host": tenants[of]["host"], "Authorization": f"Bearer {tokens[of]}", "Content-Type": "application/scim+json"}
        cycle = _cycle(f"{stamp}-{number}")
        try:
            client.connect()
            gate.wait(30)
            for n in range(int(seconds * RATE) // CONNECTIONS):
                due = began[0] + (n * CONNECTIONS + number) / RATE
                time.sleep(max(0, due - time.monotonic()))
                method, path, body, expected = next(cycle)
                client.connection.request(method, path.replace("{id}", user), json.dumps(body) if body else None, head)
                answer = client.connection.getresponse()
                text = answer.read()
                if answer.status in (429, 503):
                    refused[of][number] += 1
                    cycle = _cycle(f"{stamp}-{number}-{n}")
                    continue
                took[of][number].append((time.monotonic() - due) * 1000)
                found = json.loads(text) if text else {}
                if answer.status != expected or found.get("totalResults", 1) != 1:
                    wrong.append(f"{method} {path} answered {answer.status}: {text[:200]!r}")
                    break
                user = found.get("id", user)
        except (OSError, ValueError, StepFailed, threading.BrokenBarrierError) as e:
            wrong.append(f"{type(e).__name__}: {e}")
        finally:
            ends[of][number] = time.monotonic()
            client.close()

    workers = [threading.Thread(target=worker, args=(of, number), daemon=True) for of in range(len(tenants)) for number in range(CONNECTIONS)]
    for thread in workers:
        thread.start()
    began[0] = time.monotonic() + 0.5
    gate.wait(30)
    for thread in workers:
        thread.join(seconds + 60)
    if wrong or any(thread.is_alive() for thread in workers):
        raise StepFailed(wrong[0] if wrong else "a client did not end")
    return [{"ms": [ms for part in took[of] for ms in part], "refused": sum(refused[of]), "seconds": max(ends[of]) - began[0]}
            for of in range(len(tenants))]
