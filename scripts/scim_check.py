"""Has scim2-tester check a server, as the identity provider of a new tenant.

Usage: scim_check.py URL
"""

import sys
from collections import Counter

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server
from scim_token import scim_token

TENANT = "acme"
# Fewer checks than this mean that the server announces less than it did.
AT_LEAST = 110


def main(url: str) -> int:
    headers = {"X-Tenant": TENANT, "Authorization": f"Bearer {scim_token(url, TENANT)}"}
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
