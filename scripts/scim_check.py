"""Onboards a tenant, makes a SCIM token as its owner with a second factor, and has scim2-tester check the server.

Usage: scim_check.py URL
"""

import base64
import hashlib
import hmac
import struct
import sys
import time
from collections import Counter

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

TENANT = "acme"
PASSWORD = "correct horse battery staple"
# Fewer checks than this mean that the server announces less than it did.
AT_LEAST = 100


def totp(secret: str) -> str:
    """The code of this moment (RFC 6238, SHA-1, 30 seconds, 6 digits)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def main(url: str) -> int:
    api = httpx2.Client(base_url=url, headers={"X-Tenant": TENANT}, timeout=30)

    def post(path: str, body: dict, token: str | None = None) -> dict:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = api.post(path, json=body, headers=headers)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    admin = {"email": "owner@acme.test", "password": PASSWORD}
    onboard = httpx2.post(f"{url}/tenants/onboard", json={"name": "Acme", "subdomain": TENANT, "admin": admin})
    assert onboard.status_code == 201, onboard.text
    token = post("/auth/login", admin)["access_token"]
    factor = post("/auth/mfa/totp", {}, token)
    confirmed = post("/auth/mfa/totp/confirm", {"code": totp(factor["secret"])}, token)
    # The code was used up: a recovery code is the second factor.
    step_up = {"purpose": "step_up", "code": confirmed["recovery_codes"][0]}
    token = post("/auth/mfa/verify", step_up, token)["access_token"]
    secret = post("/scim/tokens", {"name": "scim2-tester"}, token)["secret"]

    headers = {"X-Tenant": TENANT, "Authorization": f"Bearer {secret}"}
    client = SyncSCIMClient(httpx2.Client(base_url=f"{url}/scim/v2", headers=headers, timeout=30))
    results = check_server(client)
    for result in results:
        if result.status.name != "SUCCESS":
            print(result.status.name, result.title, result.resource_type, result.reason, file=sys.stderr)
    counts = Counter(result.status.name for result in results)
    print("scim2-tester:", ", ".join(f"{n} {status}" for status, n in counts.items()))
    return 0 if set(counts) == {"SUCCESS"} and counts["SUCCESS"] >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
