"""Tenants and their access tokens, in the shape every gateway and load tool of a run reads."""

import base64
import json
import random
from pathlib import Path

from .proc import StepFailed, run

HERE = Path(__file__).resolve().parent.parent
# What stands before the point in the DER form of a P-256 public key (SubjectPublicKeyInfo, RFC 5480).
P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


def self_made(count, base_domain, lifetime_s=7200):
    """Tenants with keys of our own, for a run that has no businessos."""
    out = run(["node", HERE / "express" / "make-tokens.mjs", count, base_domain, lifetime_s], 120)
    return json.loads(out)


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def header_of(token):
    """The JOSE header of a token."""
    try:
        return json.loads(unpadded(token.split(".")[0]))
    except (ValueError, IndexError):
        raise StepFailed("the access token is not a JWS") from None


def pem_from_jwks(jwks, kid):
    """The public key of an ES256 JWK (RFC 7518 section 6.2) as PEM."""
    key = next((k for k in jwks.get("keys", []) if k.get("kid") == kid), None)
    if key is None:
        raise StepFailed(f"the key {kid} is not in the tenant's JWKS")
    if (key.get("kty"), key.get("crv")) != ("EC", "P-256"):
        raise StepFailed(f"expected a P-256 key, found {key.get('kty')} {key.get('crv')}")
    point = b"\x04" + unpadded(key["x"]).rjust(32, b"\0") + unpadded(key["y"]).rjust(32, b"\0")
    text = base64.b64encode(P256_PREFIX + point).decode()
    lines = [text[n:n + 64] for n in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


class TokenFiles:
    """The files of one set of tenants: tenants.json for Express, maps and PEM files for HAProxy, pairs for the load tools."""

    def __init__(self, directory, tenants):
        self.directory, self.tenants = Path(directory), tenants
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.json = self.directory / "tenants.json"
        self.pairs = self.write_pairs("pairs", tenants)

    def write_pairs(self, name, tenants):
        """A pairs file for some of the tenants, in an order of its own so that neighbours do not share index pages."""
        order = sorted(tenants, key=lambda t: t["slug"])
        random.Random(1).shuffle(order)
        path = self.directory / name
        path.write_text("".join(f"{t['host']}\t{t['token']}\n" for t in order))
        return path

    def write_for_gateways(self):
        """Writes what HAProxy and Express read; needs each tenant's public key."""
        self.json.write_text(json.dumps(self.tenants))
        for name, value in (("tenants.map", "id"), ("plans.map", "plan")):
            (self.directory / name).write_text("".join(f"{t['host']} {t[value]}\n" for t in self.tenants))
        for t in self.tenants:
            self._key(t).write_text(t["pem"])
        (self.directory / "keys.map").write_text("".join(f"{t['host']} {self._key(t)}\n" for t in self.tenants))

    def haproxy_preload(self):
        """One never-used rule for each key: HAProxy 2.6 only opens key files that a rule names."""
        return "\n".join(
            f'    http-request deny if {{ http_auth_bearer,jwt_verify("ES256","{self._key(t)}") -m int 0 }}' for t in self.tenants
        )

    def _key(self, tenant):
        return self.directory / f"{tenant['slug']}.pem"
