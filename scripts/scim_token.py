"""Onboards a tenant, shows a second factor as its owner, makes a token for its identity provider, and prints it.

Usage: scim_token.py URL SUBDOMAIN
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
import time
import urllib.error
import urllib.request

PASSWORD = "correct horse battery staple"


def totp(secret: str) -> str:
    """The code of this moment (RFC 6238, SHA-1, 30 seconds, 6 digits)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def scim_token(url: str, tenant: str) -> str:
    """A token for SCIM of a new tenant. Anything but a success ends the program."""

    def post(path: str, body: dict, token: str | None = None, host: str | None = tenant) -> dict:
        headers = {"Content-Type": "application/json"}
        if host:
            headers["X-Tenant"] = host
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            sys.exit(f"{path}: {refused.code} {refused.read().decode()}")

    admin = {"email": f"owner@{tenant}.test", "password": PASSWORD}
    post("/tenants/onboard", {"name": tenant.title(), "subdomain": tenant, "admin": admin}, host=None)
    token = post("/auth/login", admin)["access_token"]
    factor = post("/auth/mfa/totp", {}, token)
    confirmed = post("/auth/mfa/totp/confirm", {"code": totp(factor["secret"])}, token)
    # The code was used up: a recovery code is the second factor.
    step_up = {"purpose": "step_up", "code": confirmed["recovery_codes"][0]}
    token = post("/auth/mfa/verify", step_up, token)["access_token"]
    return post("/scim/tokens", {"name": "tests"}, token)["secret"]


if __name__ == "__main__":
    print(scim_token(sys.argv[1], sys.argv[2]))
