"""Parts about metering: what it costs the gateway, and what connected admins cost in memory."""

import base64
import contextlib
import os
import socket
import time

from . import load, memory
from .proc import StepFailed
from .session import median, say

METERED = "/metered/items"
PLAIN = "/crm/items"
ADMINS = 1000


def metered(run):
    """The same route with and without a meter, in alternating rounds; then every counted call must be in the database."""
    options, product = run.options, run.product
    rates, n_calls = {METERED: [], PLAIN: []}, 0
    before = _counted(product)
    for number in range(options.rounds + 1):
        for path in (METERED, PLAIN) if number % 2 else (PLAIN, METERED):
            result = load.throughput(product.port, run.files.pairs, 64, options.seconds, options.threads, path)
            product.process.take_log()
            n_calls += result["requests"] if path == METERED else 0
            if number > 0:  # the first round is for warming up
                rates[path].append(result["per_second"])
    ratios = [m / p for m, p in zip(rates[METERED], rates[PLAIN], strict=True)]
    run.raw["metered"] = {"rates": rates, "calls": n_calls}
    run.put("metered_ratio", median(ratios), f"{median(rates[METERED]):,.0f} and {median(rates[PLAIN]):,.0f} requests/s")
    # wrk hangs up on the requests under way at its end; the server may have answered those: up to 64 a round.
    counted, most = 0, n_calls + 64 * (options.rounds + 1)
    for _ in range(60):
        counted = _counted(product) - before
        if counted >= n_calls:
            break
        time.sleep(0.5)
    if not n_calls <= counted <= most:
        raise StepFailed(f"{counted} calls were counted, and {n_calls} were answered")
    run.put("metered_counted", counted - n_calls, f"{counted:,} counted, {n_calls:,} answered to wrk, which breaks off up to 64 at a round's end")


def _counted(product):
    return int(product.query("SELECT coalesce(sum(used), 0)::bigint FROM billing.usage_counters WHERE meter = 'connector_calls'"))


def admins(run):
    """Opens so many usage streams, of all tenants in turn, and looks at the server's memory before and after."""
    process, port = run.product.process, run.product.port
    before = memory.of_process(process.pid)["rss_mb"]
    with contextlib.ExitStack() as stack:
        for n in range(ADMINS):
            stack.enter_context(contextlib.closing(_stream(port, run.tenants[n % len(run.tenants)])))
        time.sleep(3)
        after = memory.of_process(process.pid)["rss_mb"]
    if before is None or after is None:
        raise StepFailed("the server's memory could not be read")
    run.raw["admins"] = {"before_mb": before, "after_mb": after}
    run.put("admins_rss", after - before, f"{1024 * (after - before) / ADMINS:.1f} KB each; {before:.0f} MB before")
    say(f"  {ADMINS} admins: {before:.1f} to {after:.1f} MB")


def _stream(port, tenant):
    """One WebSocket after its handshake (RFC 6455 §4) and first message."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall((f"GET /billing/usage/stream HTTP/1.1\r\nHost: {tenant['host']}\r\nAuthorization: Bearer {tenant['token']}\r\n"
                        f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    answer = b""
    while b'"snapshot"' not in answer:
        chunk = connection.recv(4096)
        answer += chunk
        if not chunk or len(answer) > 65536 or (b"\r\n" in answer and not answer.startswith(b"HTTP/1.1 101")):
            connection.close()
            raise StepFailed(f"the stream was refused: {answer[:200]!r}")
    return connection
