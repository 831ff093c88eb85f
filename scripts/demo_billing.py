"""Usage: demo_billing.py SERVER STRIPE_FAKE DIRECTORY; see demo-billing.sh."""

import email
import email.policy
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

SERVER, FAKE, DIRECTORY = sys.argv[1:4]
PASSWORD = "correct horse battery staple"
PATIENCE_S = 90


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


PORT, ADMIN, STRIPE = free_port(), free_port(), free_port()
URL, STRIPE_URL = f"http://127.0.0.1:{PORT}", f"http://127.0.0.1:{STRIPE}"


def show(title, value=None):
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n{title}", flush=True)
    if value is not None:
        print("   " + json.dumps(value, indent=2).replace("\n", "\n   "), flush=True)


def request(url, method="GET", body=None, headers=None, form=None):
    data = json.dumps(body).encode() if body is not None else None
    headers = dict(headers or {})
    if body is not None:
        headers["content-type"] = "application/json"
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    call = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: {error.code} {error.read().decode()}")


class Acme:
    """Calls of the demo's tenant."""

    token = None

    def call(self, method, path, body=None):
        headers = {"x-tenant": "acme"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        answer = request(URL + path, method, body, headers)
        return json.loads(answer) if answer[:1] in b"{[" else answer


def wait_for(what, look):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"in vain: {what}")


def is_up(url):
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def totp(secret, *more):
    return subprocess.check_output([SERVER, "totp", *more, secret], text=True).strip()


def money(minor):
    return f"{minor / 100:,.2f} USD"


def demo(work):
    acme = Acme()
    request(URL + "/tenants/onboard", "POST", {
        "name": "Acme Ltd", "subdomain": "acme", "admin": {"email": "owner@acme.test", "password": PASSWORD},
    })
    signed_in = acme.call("POST", "/auth/login", {"email": "owner@acme.test", "password": PASSWORD})
    acme.token = signed_in["access_token"]
    secret = acme.call("POST", "/auth/mfa/totp")["secret"]
    acme.call("POST", "/auth/mfa/totp/confirm", {"code": totp(secret)})
    stepped_up = acme.call("POST", "/auth/mfa/verify", {"purpose": "step_up", "code": totp(secret, "--next")})
    acme.token = stepped_up["access_token"]
    acme.call("PUT", "/billing/profile", {
        "legal_name": "Acme Ltd", "address_lines": ["1 Main Street"], "city": "London", "postcode": "N1 7AA",
        "country": "GB", "emails": ["accounts@acme.test"],
    })
    show("1. Acme has signed up, on the free plan, and wants basic. Subscribing needs a second factor, and leads to a page:")
    checkout = acme.call("POST", "/billing/subscribe", {"plan": "basic", "success_url": "/paid"})
    show("   POST /billing/subscribe", checkout)
    assert acme.call("GET", "/billing/subscription")["plan"] == "free", "nothing holds before it is paid"

    show("2. It pays there (the page's button is pressed). Stripe's webhook comes, is believed by its signature, and the plan is active:")
    session = checkout["checkout_url"].rsplit("/", 1)[1]
    request(f"{STRIPE_URL}/_fake/pay", "POST", form={"session": session})
    wait_for("the plan", lambda: acme.call("GET", "/billing/subscription")["plan"] == "basic")
    subscription = acme.call("GET", "/billing/subscription")
    show("   GET /billing/subscription", {key: subscription[key] for key in ["plan", "status", "monthly_minor", "currency"]})
    invoices = acme.call("GET", "/billing/invoice")["items"]
    assert all(one["status"] == "paid" for one in invoices), invoices
    for first in invoices:
        print(f"   Invoice {first['number']} over the rest of the month, {money(first['total_minor'])}, is paid.")
    if not invoices:
        [page] = books("checkout.session")
        assert page["mode"] == "setup", page
        print("   So little is left of the month that nothing is charged for it; the page has only taken the card.")
    paid_so_far = sum(one["total_minor"] for one in invoices)

    show("3. It uses 1.6 million tokens; a million is included:")
    used = acme.call("POST", "/billing/usage/events", {
        "events": [{"id": "demo-1", "meter": "ai_tokens", "quantity": 1_600_000}],
    })
    show("   POST /billing/usage/events", used)
    wait_for("Stripe's subscription", lambda: books("subscription"))

    show("4. Stripe's test clock goes on to the next month. Stripe drafts an invoice; the month is closed and our lines put onto it:")
    while not books("invoice"):
        request(f"{STRIPE_URL}/_fake/clock", "POST", form={"advance_s": 6 * 3600})

    def closed():
        invoices = [one for one in acme.call("GET", "/billing/invoice")["items"] if one["kind"] == "cycle"]
        return invoices if invoices and invoices[0]["status"] == "paid" else None

    [invoice] = wait_for("the invoice to be paid", closed)
    detail = acme.call("GET", f"/billing/invoice/{invoice['id']}")
    for line in detail["lines"]:
        print(f"   {line['description']:<48} {money(line['amount_minor']):>16}")
    print(f"   {'Total of ' + invoice['number']:<48} {money(invoice['total_minor']):>16}")
    charged = sum(charge["amount"] for charge in books("charge"))
    assert charged == paid_so_far + invoice["total_minor"], (charged, invoices, invoice)
    print(f"   Charged at Stripe in all: {money(charged)}; our invoices come to the same.")

    show("5. The invoice is in the mail, with the PDF:")
    mail = wait_for("the mail", lambda: mail_of(work, invoice["number"]))
    attachment = next(part for part in mail.iter_attachments() if part.get_filename().endswith(".pdf"))
    pdf = attachment.get_content()
    assert pdf == acme.call("GET", f"/billing/invoice/{invoice['id']}/pdf"), "the mailed file is the one that is kept"
    path = pathlib.Path(DIRECTORY, f"{invoice['number']}.pdf")
    path.write_bytes(pdf)
    print(f"   To: {mail['to']}\n   Subject: {mail['subject']}\n   {path}")


def books(kind):
    """Objects of a kind that the stand-in for Stripe knows."""
    everything = json.loads(request(f"{STRIPE_URL}/_fake/books"))["objects"].values()
    return [one for one in everything if one["object"] == kind]


def mail_of(work, number):
    for path in pathlib.Path(work).rglob("*.eml"):
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if any((part.get_filename() or "").find(number) >= 0 for part in mail.iter_attachments()):
            return mail
    return None


def main():
    processes = []
    with tempfile.TemporaryDirectory() as work:
        # The user that PostgreSQL runs as must be able to reach its directory.
        os.chmod(work, 0o755)
        config = pathlib.Path(work, "config.toml")
        config.write_text(f"""
data_dir = "{work}/data"
[server]
listen = "127.0.0.1:{PORT}"
[admin]
listen = "127.0.0.1:{ADMIN}"
[stripe]
secret_key = "sk_test_fake"
webhook_secret = "whsec_fake"
api_base = "{STRIPE_URL}"
[billing.seller]
legal_name = "Example Software GmbH"
address_lines = ["Beispielweg 1"]
city = "Berlin"
postcode = "10115"
country = "DE"
tax_id = "DE123456789"
[log]
level = "warn"
access = false
""")
        log = open(pathlib.Path(work, "server.log"), "w+")
        try:
            stripe = [FAKE, "--port", str(STRIPE), "--webhooks-to", f"127.0.0.1:{PORT}"]
            processes.append(subprocess.Popen(stripe, stdout=subprocess.DEVNULL))
            server = [SERVER, "--config", str(config), "serve"]
            processes.append(subprocess.Popen(server, stdout=log, stderr=log, cwd=work))
            wait_for("the server", lambda: is_up(f"http://127.0.0.1:{ADMIN}/readyz"))
            demo(work)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(timeout=60)
    show("Done. Nothing of it is left running.")


if __name__ == "__main__":
    main()
