#!/usr/bin/env python3
"""Gives temporary credentials and stands before an S3 server that does not know any.

    credential_gate.py HOST:PORT

On one port of loopback, which it prints, it is

    /latest/...     the instance metadata service, version 2
    POST /          STS: AssumeRoleWithWebIdentity
    anything else   S3: a request must be signed with credentials that were given out and have not ended.
                    It is signed anew with the keys of VEZA_TEST_S3_ACCESS_KEY and VEZA_TEST_S3_SECRET_KEY
                    and passed on.

Obeys commands on standard input, one per line, and answers each with a line that begins with it:

    life SECONDS    credentials that are given out from now on live so long
    claim SECONDS   ... but are said to live so long (0: what is true)
    delay SECONDS   each request to S3 waits so long
    metadata HOW    the services of credentials answer (pass), answer 503 (fail), or not at all (stall)
    issue           prints id, secret key and token of new credentials
    revoke          all credentials end now
    stats           prints issued=N refused=N and served=N
    pass            everything works, at once

Ends with its standard input.
"""
import datetime
import hashlib
import hmac
import http.client
import http.server
import os
import secrets
import sys
import threading
import time
import urllib.parse

target = sys.argv[1]
real_keys = os.environ["VEZA_TEST_S3_ACCESS_KEY"], os.environ["VEZA_TEST_S3_SECRET_KEY"]
lock = threading.Lock()
given = {}  # token: (id, secret key, end)
state = {"life": 3600.0, "claim": 0.0, "delay": 0.0, "metadata": "pass"}
stats = {"issued": 0, "refused": 0, "served": 0}
local = threading.local()


def issue():
    """Returns id, secret key, token and the end that is told."""
    with lock:
        stats["issued"] += 1
        key_id = f"ASIA{stats['issued']:06d}"
        secret, token = secrets.token_urlsafe(30), secrets.token_urlsafe(300)
        given[token] = key_id, secret, time.time() + state["life"]
        told = time.time() + (state["claim"] or state["life"])
    end = datetime.datetime.fromtimestamp(told, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return key_id, secret, token, end


def signature(secret, scope, date, canonical):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def canonical_request(method, url, headers, names):
    path, _, query = url.partition("?")
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    return "\n".join((method, path, "&".join(sorted(query.split("&"))), lines, ";".join(names),
                      headers["x-amz-content-sha256"]))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code):
        with lock:
            stats["refused"] += 1
        self.answer(400, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode(),
                    [("Date", self.date_time_string())])

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_sts = self.command == "POST" and self.path == "/"
        if is_sts or self.path.startswith("/latest/"):
            if state["metadata"] == "stall":
                time.sleep(20)
            if state["metadata"] != "pass":
                return self.answer(503, b"busy")
            return self.serve_sts(body) if is_sts else self.serve_metadata()
        time.sleep(state["delay"])
        return self.serve_s3(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    def serve_metadata(self):
        roles = "/latest/meta-data/iam/security-credentials/"
        if self.path == "/latest/api/token":
            ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            return self.answer(200, b"session") if self.command == "PUT" and ttl else self.answer(405)
        if self.headers.get("X-aws-ec2-metadata-token") != "session":
            return self.answer(401)
        if self.path == roles:
            return self.answer(200, b"backup")
        if self.path != roles + "backup":
            return self.answer(404)
        key_id, secret, token, end = issue()
        return self.answer(200, (f'{{"Code": "Success", "AccessKeyId": "{key_id}", "SecretAccessKey": "{secret}",'
                                 f' "Token": "{token}", "Expiration": "{end}"}}').encode())

    def serve_sts(self, body):
        form = urllib.parse.parse_qs(body.decode())
        if form.get("WebIdentityToken") != ["identity-token"] or not form.get("RoleArn"):
            return self.answer(400, b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>")
        key_id, secret, token, end = issue()
        name = "AssumeRoleWithWebIdentity"
        return self.answer(200, (f"<{name}Response><{name}Result><Credentials><AccessKeyId>{key_id}</AccessKeyId>"
                                 f"<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>"
                                 f"<Expiration>{end}</Expiration></Credentials></{name}Result></{name}Response>"
                                 ).encode())

    def serve_s3(self, body):
        headers = {name.lower(): value for name, value in self.headers.items()}
        with lock:
            key_id, secret, end = given.get(headers.get("x-amz-security-token"), (None, None, None))
        if key_id is None:
            return self.refuse("InvalidToken")
        if time.time() >= end:
            return self.refuse("ExpiredToken")
        parts = dict(part.split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(","))
        sender, scope = parts["Credential"].split("/", 1)
        names = parts["SignedHeaders"].split(";")
        date = headers["x-amz-date"]
        expected = signature(secret, scope, date, canonical_request(self.command, self.path, headers, names))
        if sender != key_id:
            return self.refuse("InvalidAccessKeyId")
        if parts["Signature"] != expected:
            return self.refuse("SignatureDoesNotMatch")
        with lock:
            stats["served"] += 1
        names.remove("x-amz-security-token")
        headers["host"] = target
        again = signature(real_keys[1], scope, date, canonical_request(self.command, self.path, headers, names))
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={real_keys[0]}/{scope},"
                                    f"SignedHeaders={';'.join(names)},Signature={again}")
        for name in ("x-amz-security-token", "connection"):
            headers.pop(name, None)
        return self.pass_on(body, headers)

    def pass_on(self, body, headers):
        for attempt in (1, 2):  # a connection that was idle may have been closed
            if not hasattr(local, "connection"):
                local.connection = http.client.HTTPConnection(target, timeout=60)
            try:
                local.connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    local.connection.putheader(name, value)
                local.connection.endheaders(body or None)
                response = local.connection.getresponse()
                content = response.read()
                break
            except OSError:
                del local.connection
                if attempt == 2:
                    return self.answer(503)
            except http.client.HTTPException:
                del local.connection
                if attempt == 2:
                    return self.answer(503)
        kept = [(name, value) for name, value in response.getheaders()
                if name.lower() not in ("transfer-encoding", "connection")]
        return self.answer(response.status, content, kept)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that has gone


def obey(command, value):
    if command in ("life", "claim", "delay"):
        state[command] = float(value)
    elif command == "metadata":
        state["metadata"] = value
    elif command == "issue":
        return " ".join(issue()[:3])
    elif command == "revoke":
        with lock:
            given.clear()
    elif command == "stats":
        return " ".join(f"{name}={count}" for name, count in stats.items())
    elif command == "pass":
        state.update(delay=0.0, metadata="pass")
    else:
        sys.exit(f"credential_gate.py: unknown command {command!r}")
    return value


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
for line in sys.stdin:
    command, _, value = line.strip().partition(" ")
    print(command, obey(command, value), flush=True)
