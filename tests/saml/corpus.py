#!/usr/bin/env python3
"""Writes the abuse corpus for SAML responses: lines of JSON, the first about the provider, then one for each case.

    corpus.py --acs URL --sp-entity ID --idp-entity ID --request-id ID --now 2026-01-31T12:00:00Z --sp-certificate PEM --sp-key PEM

The first line has `metadata` (of the provider whose fresh keys sign) and `certificates`. A case has `name`, `expect` (`accept` or
`refuse`), `solicited` (whether the request id is expected, or no request), `encrypted_only` (whether the connection demands
encryption), `response_base64`, and what python3-saml said: `python3_saml` (`accepted`, `refused`, or `unable` where it
lacks something that is no matter of safety), with `name_id` or `why`. The files are the program's own
certificate and key, for encrypted assertions. Every response has ids of its own.
"""

import argparse
import base64
import datetime
import json
import pathlib
import sys

from cryptography import x509

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import corpus_bad  # noqa: E402
import corpus_good  # noqa: E402
import corpus_wrapped  # noqa: E402
from idp import World  # noqa: E402
from oracle import Oracle  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["acs", "sp-entity", "idp-entity", "request-id", "now", "sp-certificate", "sp-key"]:
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


def main():
    given = arguments()
    now = datetime.datetime.strptime(given.now, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    certificate_pem = pathlib.Path(given.sp_certificate).read_text()
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    world = World(given.acs, given.sp_entity, given.idp_entity, given.request_id, now, certificate)
    oracle = Oracle(world, certificate_pem, pathlib.Path(given.sp_key).read_text())
    print(json.dumps({"metadata": world.metadata(), "certificates": [signer.pem() for signer in world.trusted()]}))
    names = set()
    for expect, module in [("accept", corpus_good), ("refuse", corpus_wrapped), ("refuse", corpus_bad)]:
        for name, response, *options in module.cases(world):
            option = options[0] if options else {}
            if name in names:
                sys.exit(f"two cases are named {name}")
            names.add(name)
            if option.get("raw"):
                encoded = response
            else:
                encoded = base64.b64encode(response if isinstance(response, bytes) else response.encode()).decode()
            solicited = option.get("solicited", True)
            said, about = oracle.ask(encoded, world.request_id if solicited else None)
            if "unable" in option:
                said, about = "unable", option["unable"]
            case = {
                "name": name,
                "expect": expect,
                "solicited": solicited,
                "encrypted_only": option.get("encrypted_only", False),
                "response_base64": encoded,
                "python3_saml": said,
                "name_id" if said == "accepted" else "why": about,
            }
            print(json.dumps(case))


if __name__ == "__main__":
    main()
