"""An HTTPS service for tests: python tls_service.py DIRECTORY NAME

Answers every GET with the Host header that it saw. Its certificate is for NAME, by an authority of its own whose certificate is
DIRECTORY/ca.pem. Prints its port when it listens, and ends with its standard input.
"""

import http.server
import pathlib
import ssl
import sys
import threading

import trustme

directory, name = pathlib.Path(sys.argv[1]), sys.argv[2]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ca = trustme.CA()
ca.cert_pem.write_to_path(str(directory / "ca.pem"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_alpn_protocols(["http/1.1"])
ca.issue_cert(name).configure_cert(context)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
