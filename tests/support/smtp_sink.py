"""An SMTP server for tests: keeps what it is given as files, and misbehaves where a recipient's name asks for it.

Usage: smtp_sink.py DIRECTORY PORT plain|starttls|tls [USER:PASSWORD]

Prints its port when it listens. With TLS its certificate authority is DIRECTORY/ca.pem, which is kept over restarts.
Recipients: refused@ (550), busy@ (451), silent@ (no answer at all).
"""

import asyncio
import pathlib
import ssl
import sys

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

directory, port, mode = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
credentials = sys.argv[4].encode().split(b":") if len(sys.argv) > 4 else None


class Sink:
    n = 0

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        name = address.split("@")[0]
        if name == "refused":
            return "550 5.1.1 no such user"
        if name == "busy":
            return "451 4.3.0 try again later"
        if name == "silent":
            await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.n += 1
        target = directory / f"{self.n:06}-{envelope.rcpt_tos[0]}.eml"
        unfinished = directory / f".{target.name}"
        unfinished.write_bytes(envelope.original_content)
        unfinished.rename(target)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    is_right = isinstance(data, LoginPassword) and [data.login, data.password] == credentials
    return AuthResult(success=is_right)


def tls_context():
    if mode == "plain":
        return None
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    return context


async def main():
    context, sink = tls_context(), Sink()
    options = {"hostname": "localhost", "enable_SMTPUTF8": True}
    if credentials:
        options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": mode == "starttls"}
    if mode == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.get_running_loop()
    implicit = context if mode == "tls" else None
    server = await loop.create_server(lambda: SMTP(sink, **options), "127.0.0.1", port, ssl=implicit)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
