#!/usr/bin/env python3
"""An HTTP proxy in front of an S3 server that makes requests fail at random. Tests use it as a bad store.

    fault_proxy.py HOST:PORT

Prints its own port, on loopback, and then obeys commands on standard input, one per line. It answers each
with a line that begins with the command:

    pass                          forwards requests to HOST:PORT, as at the start
    faults RATE SEED [KIND...]    makes this share of the requests (0 to 1) fail, with these kinds or all
    conditions HOW                sets how If-None-Match is treated: honour (by HOST:PORT, as at the start),
                                  ignore (the object is overwritten), refuse (answered with 501)
    forbid PART                   answers 403 to each PUT of a path with this in it; "none" forbids nothing, as at the start
    stats                         answers with the number of requests and of each kind of fault

The seed and the order of the requests decide which ones fail. The kinds are dealt like cards: each comes
once before any comes again, so that a few dozen faults include all kinds.

To ignore a condition, the proxy deletes the object and sends the request again. It cannot remove the
condition, which is signed. Its own requests are signed with VEZA_TEST_S3_ACCESS_KEY and VEZA_TEST_S3_SECRET_KEY.

proxy.py is for a store that is away. It forwards bytes without understanding them, so it also works with TLS. This
proxy must tell one request from the next. It ends with its standard input, that is, with the test that started it.
"""
import collections
import datetime
import hashlib
import hmac
import http.client
import http.server
import os
import random
import socket
import struct
import sys
import threading
import time

STALL = 4.0  # seconds in which nothing moves
SLOW = 2.0  # seconds over which a slow body is spread
PIECES = 20  # pieces of a slow body

target = sys.argv[1]
conditions = "honour"
forbidden = "none"


class Dice:
    """Chooses the fault of the next request, and counts. Shared by all connections."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.rate = 0.0

    def load(self, rate, seed, kinds):
        with self.lock:
            self.rate, self.random, self.kinds, self.deck = rate, random.Random(seed), kinds, []

    def throw(self):
        with self.lock:
            self.counts["requests"] += 1
            if self.rate == 0 or self.random.random() >= self.rate:
                return None
            if not self.deck:
                self.deck = self.random.sample(self.kinds, len(self.kinds))
            kind = self.deck.pop()
            self.counts[kind] += 1
            return kind

    def stop(self):
        with self.lock:
            self.rate = 0.0

    def stats(self):
        with self.lock:
            return " ".join(f"{name}={self.counts[name]}" for name in ("requests", *KINDS))


dice = Dice()


class Gone(Exception):
    """The client has closed the connection in the middle of its request."""


class Answer:
    """A response with its whole body, as bytes for the client."""

    def __init__(self, status, reason, headers, body):
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        self.status = status
        self.head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.body = body


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client, with one request after the other. Each request is read completely, and has an
    upstream connection of its own, so that a fault on one side never confuses the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def serve(self):
        fault = dice.throw()
        try:
            getattr(self, fault or "passed_on")()
        except (Gone, OSError, http.client.HTTPException):
            self.drop()

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = serve

    def log_message(self, *_):
        """Standard error belongs to the test."""

    # --- the faults: each handles one request ------------------------------------------------------

    def passed_on(self):
        if forbidden != "none" and self.command == "PUT" and forbidden in self.path:
            self.refuse(403, "Forbidden", "AccessDenied")
            return
        if conditions == "refuse" and "If-None-Match" in self.headers:
            self.refuse(501, "Not Implemented", "NotImplemented")
            return
        body = self.request_body()
        answer = self.ask(body)
        if conditions == "ignore" and answer.status == 412:
            delete(self.path)
            answer = self.ask(body)
        self.send(answer)

    def error_500(self):
        self.refuse(500, "Internal Server Error", "InternalError")

    def error_503(self):
        self.refuse(503, "Service Unavailable", "SlowDown", ("Retry-After", "1"))

    def dropped_request(self):
        """The store does not see the request."""
        self.rfile.read(self.request_length() // 2)
        self.drop()

    def lost_answer(self):
        """The store carries out the request, but its response is lost."""
        self.ask(self.request_body())
        self.drop()

    def truncated_answer(self):
        answer = self.ask(self.request_body())
        if answer.body:
            self.wfile.write(answer.head + answer.body[: len(answer.body) // 2])
        else:
            self.wfile.write(answer.head[: len(answer.head) // 2])
        self.close_connection = True

    def stall(self):
        body = self.request_body()
        time.sleep(STALL)
        self.send(self.ask(body))

    def slow_body(self):
        body = self.request_body(self.slowly)
        answer = self.ask(body)
        self.wfile.write(answer.head)
        for size in self.slowly(len(answer.body)):
            self.wfile.write(answer.body[:size])
            answer.body = answer.body[size:]

    # --- helpers -----------------------------------------------------------------------------------

    def request_length(self):
        return int(self.headers.get("Content-Length", 0))

    @staticmethod
    def at_once(length):
        yield length

    @staticmethod
    def slowly(length):
        """Yields the sizes of pieces, with pauses in between."""
        piece = max(1, length // PIECES)
        for begin in range(0, length, piece):
            time.sleep(SLOW / PIECES)
            yield min(piece, length - begin)

    def request_body(self, pace=None):
        pieces = [self.rfile.read(size) for size in (pace or self.at_once)(self.request_length())]
        body = b"".join(pieces)
        if len(body) < self.request_length():
            raise Gone
        return body

    def ask(self, body):
        """Forwards the request unchanged, including the signed Host header, and waits for the whole response."""
        upstream = http.client.HTTPConnection(target, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                # This proxy has already requested the body.
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            body = answer.read()
            headers = [(name, value) for name, value in answer.getheaders()
                       if name.lower() not in ("connection", "transfer-encoding")]
            if answer.chunked:
                headers.append(("Content-Length", len(body)))
            return Answer(answer.status, answer.reason, headers, body)
        finally:
            upstream.close()

    def send(self, answer):
        self.wfile.write(answer.head + answer.body)

    def refuse(self, status, reason, code, *headers):
        self.request_body()
        body = b""
        if self.command != "HEAD":
            body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by fault_proxy.py</Message></Error>".encode()
        self.send(Answer(status, reason, [*headers, ("Content-Type", "application/xml"), ("Content-Length", len(body))], body))

    def drop(self):
        # Resets the connection, as if the host were gone, in place of an orderly end.
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def delete(path):
    """Deletes an object with the credentials of the test."""
    time_now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": target, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": time_now}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"DELETE\n{path}\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    scope = f"{time_now[:8]}/us-east-1/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{time_now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = ("AWS4" + os.environ["VEZA_TEST_S3_SECRET_KEY"]).encode()
    for part in scope.split("/"):
        key = sign(key, part)
    credential = f"{os.environ['VEZA_TEST_S3_ACCESS_KEY']}/{scope}"
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},"
                                f"Signature={sign(key, to_sign).hex()}")
    upstream = http.client.HTTPConnection(target, timeout=60)
    try:
        upstream.request("DELETE", path, headers=headers)
        status = upstream.getresponse().status
    finally:
        upstream.close()
    if status != 204:
        raise http.client.HTTPException(f"DELETE {path}: {status}")


KINDS = ("error_500", "error_503", "dropped_request", "lost_answer", "truncated_answer", "stall", "slow_body")


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def shutdown_request(self, request):
        # Skips the orderly end of the base class. After it, drop() would no longer reset anything.
        self.close_request(request)

    def handle_error(self, *_):
        """A client that goes away is not an error here."""


def obey(words):
    global conditions, forbidden
    command, arguments = words[0], words[1:]
    if command == "pass" and not arguments:
        dice.stop()
    elif command == "faults" and len(arguments) >= 2 and set(arguments[2:]) <= set(KINDS):
        dice.load(float(arguments[0]), arguments[1], arguments[2:] or KINDS)
    elif command == "conditions" and arguments in (["honour"], ["ignore"], ["refuse"]):
        conditions = arguments[0]
    elif command == "forbid" and len(arguments) == 1:
        forbidden = arguments[0]
    elif command == "stats" and not arguments:
        return f"stats {dice.stats()}"
    else:
        sys.exit(f"fault_proxy.py: unknown command {' '.join(words)!r}")
    return " ".join(words)


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
for line in sys.stdin:
    print(obey(line.split()), flush=True)
