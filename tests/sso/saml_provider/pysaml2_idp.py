"""A provider made of PyPI `pysaml2`. Its settings come in the environment variable PROVIDER, as JSON: key and certificate (files), whether
it wants requests signed. Prints its address, and ends with its stdin.

GET /metadata: its own. POST /sp: metadata of the one service that it serves. GET /sso: a request of HTTP-Redirect, answered at once, about
the person that the settings name; POST /sso: the same by HTTP-POST; GET /unasked: an answer that nobody asked for.
"""

import html
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.authn_context import PASSWORDPROTECTEDTRANSPORT
from saml2.config import IdPConfig
from saml2.metadata import create_metadata_string
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server

SETTINGS = json.loads(os.environ["PROVIDER"])
SERVICE = {}


def configuration(address, service=None):
    settings = {
        "entityid": f"{address}/metadata",
        "key_file": SETTINGS["key"],
        "cert_file": SETTINGS["certificate"],
        "service": {
            "idp": {
                "endpoints": {
                    "single_sign_on_service": [
                        (f"{address}/sso", BINDING_HTTP_POST if SETTINGS.get("only_post") else BINDING_HTTP_REDIRECT)
                    ]
                },
                "want_authn_requests_signed": SETTINGS.get("wants_signed", False),
                "policy": {"default": {"lifetime": {"minutes": 5}, "name_form": "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"}},
            }
        },
    }
    if service:
        settings["metadata"] = {"inline": [service]}
    return IdPConfig().load(settings)


def answer(server, service_id, acs, request_id):
    return server.create_authn_response(
        identity=SETTINGS["person"],
        in_response_to=request_id,
        destination=acs,
        sp_entity_id=service_id,
        name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text=SETTINGS["name_id"]),
        authn={"class_ref": PASSWORDPROTECTEDTRANSPORT},
        sign_response=True,
        sign_assertion=True,
        sign_alg="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        digest_alg="http://www.w3.org/2001/04/xmlenc#sha256",
    )


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        if url.path == "/metadata":
            text = create_metadata_string("", config=configuration(ADDRESS), valid="24")
            self.reply(200, text.decode() if isinstance(text, bytes) else text, "application/samlmetadata+xml")
        elif url.path == "/sso":
            self.sign_in(query, BINDING_HTTP_REDIRECT)
        elif url.path == "/unasked":
            server, service_id = SERVICE["server"], SERVICE["id"]
            acs = server.metadata.assertion_consumer_service(service_id, BINDING_HTTP_POST)[0]["location"]
            self.form(acs, answer(server, service_id, acs, None), query.get("RelayState", ""))
        else:
            self.reply(404, "")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/sp":
            server = Server(config=configuration(ADDRESS, body))
            SERVICE.update(server=server, id=next(iter(server.metadata.keys())))
            self.reply(200, SERVICE["id"])
        elif self.path == "/sso":
            self.sign_in(dict(parse_qsl(body)), BINDING_HTTP_POST)
        else:
            self.reply(404, "")

    def sign_in(self, query, binding):
        server = SERVICE["server"]
        signature = {}
        if binding == BINDING_HTTP_REDIRECT:
            signature = {name: query.get(key) for name, key in
                         (("relay_state", "RelayState"), ("sigalg", "SigAlg"), ("signature", "Signature")) if query.get(key)}
        asked = server.parse_authn_request(query["SAMLRequest"], binding, **signature)
        place = server.response_args(asked.message)
        self.form(place["destination"], answer(server, place["sp_entity_id"], place["destination"], place["in_response_to"]),
                  query.get("RelayState", ""))

    def form(self, action, response, relay_state):
        import base64
        encoded = base64.b64encode(str(response).encode()).decode()
        field = '<input type="hidden" name="{}" value="{}">'
        self.reply(200, f'<form method="post" action="{html.escape(action)}">'
                   + field.format("SAMLResponse", encoded) + field.format("RelayState", html.escape(relay_state)) + "</form>")

    def reply(self, status, text, kind="text/html"):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
ADDRESS = f"http://127.0.0.1:{server.server_address[1]}"
threading.Thread(target=server.serve_forever, daemon=True).start()
print(ADDRESS, flush=True)
sys.stdin.read()
