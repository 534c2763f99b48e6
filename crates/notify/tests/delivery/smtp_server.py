"""An SMTP server that says on standard output where it listens and what it was given, one JSON value a line.

Arguments: starttls, tls or none; certificate; key; user; password (the last two may be empty: nobody need log in).
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

MODE, CERTIFICATE, KEY, USER, PASSWORD = sys.argv[1:6]


def say(value):
    print(json.dumps(value), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 5.1.1 No such mailbox"
        if address.startswith("later"):
            return "451 4.7.1 Greylisted, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in mail.items()],
            "text": mail.get_content(),
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
        })
        if "REFUSE THIS" in envelope.content.decode("utf-8", "replace"):
            return "554 5.7.1 Looks like spam"
        return "250 2.0.0 Queued as 4711"


def authenticate(server, session, envelope, mechanism, data):
    is_right = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
    # Not handled: the server is to answer for us.
    return AuthResult(success=is_right, handled=is_right, auth_data=data if is_right else None)


async def main():
    context = None
    if MODE != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEY)
    settings = {
        "hostname": "mail.test",
        "enable_SMTPUTF8": True,
        "authenticator": authenticate if USER else None,
        "auth_required": bool(USER),
        "auth_require_tls": MODE == "starttls",
        "tls_context": context if MODE == "starttls" else None,
        "require_starttls": MODE == "starttls",
    }
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), loop=loop, **settings),
        "127.0.0.1", 0, ssl=context if MODE == "tls" else None,
    )
    say({"port": server.sockets[0].getsockname()[1]})
    # Ends with whoever started it.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
