#!/usr/bin/env python3
"""Serves a repository in a directory as a bucket that can only be read, and counts the requests.

  listing_server.py DIRECTORY PORT_FILE

It knows what reading takes: ListObjectsV2 with prefix, delimiter, start-after and continuation token, in pages
of a thousand; GET with a range; HEAD. Signatures are not looked at. The names are in memory, so what is measured is the
client: its requests and its memory. Its time holds this server's, about two milliseconds a page.
GET /requests answers with the counts as JSON, and begins anew.
"""

import bisect
import collections
import http.server
import json
import os
import socketserver
import sys
import time
import urllib.parse
from xml.sax.saxutils import escape

PAGE = 1000


def names_below(directory):
    names = []
    for path, _, files in os.walk(directory):
        base = os.path.relpath(path, directory)
        names += [name if base == "." else f"{base}/{name}" for name in files]
    return sorted(names)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 20
    directory = ""
    names = []
    counts = collections.Counter()

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self):
        body = b"<Error><Code>NoSuchKey</Code><Message>no such object</Message></Error>"
        self.answer(404, body, [("content-length", "0")] if self.command == "HEAD" else ())

    def file(self):
        """The file of the object that is asked for. None for what is not in the listing: any account of this
        machine may ask, and with ".." for any file."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        key = path.lstrip("/").partition("/")[2]
        at = bisect.bisect_left(self.names, key)
        return os.path.join(self.directory, key) if self.names[at:at + 1] == [key] else None

    def do_HEAD(self):
        Handler.counts["HEAD"] += 1
        path = self.file()
        if path is None:
            self.missing()
            return
        self.answer(200, b"", self.describe(path, os.path.getsize(path)))

    def describe(self, path, length):
        return [("content-length", str(length)),
                ("last-modified", self.date_time_string(int(os.path.getmtime(path)))),
                ("etag", '"0"')]

    def do_GET(self):
        if self.path == "/requests":
            body = json.dumps(Handler.counts).encode()
            Handler.counts.clear()
            self.answer(200, body)
            return
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        if "list-type" in query:
            Handler.counts["LIST"] += 1
            self.answer(200, self.listing(query).encode())
            return
        Handler.counts["GET"] += 1
        path = self.file()
        if path is None:
            self.missing()
            return
        with open(path, "rb") as file:
            content = file.read()
        wanted = self.headers.get("range", "")
        if not wanted:
            self.answer(200, content, self.describe(path, len(content))[1:])
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        end = min(int(last) + 1, len(content)) if last else len(content)
        piece = content[int(first):end]
        self.answer(206, piece, self.describe(path, len(piece))[1:] +
                    [("content-range", f"bytes {first}-{end - 1}/{len(content)}")])

    def listing(self, query):
        prefix = query.get("prefix", "")
        delimiter = query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        most = min(int(query.get("max-keys", PAGE)), PAGE)
        at = max(bisect.bisect_left(self.names, prefix), bisect.bisect_right(self.names, after))
        entries = []
        last = ""
        while at < len(self.names) and self.names[at].startswith(prefix) and len(entries) < most:
            name = self.names[at]
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                last = name[:cut] + chr(ord(delimiter) + 1)  # after all that begins with the directory
                entries.append(f"<CommonPrefixes><Prefix>{escape(name[:cut + 1])}</Prefix></CommonPrefixes>")
                at = bisect.bisect_left(self.names, last)
                continue
            status = os.stat(os.path.join(self.directory, name))
            when = self.iso(status.st_mtime)
            entries.append(f"<Contents><Key>{escape(name)}</Key><LastModified>{when}</LastModified>"
                           f'<ETag>"0"</ETag><Size>{status.st_size}</Size></Contents>')
            last = name
            at += 1
        more = at < len(self.names) and self.names[at].startswith(prefix)
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        return (f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>"
                f"{token}{''.join(entries)}</ListBucketResult>")

    @staticmethod
    def iso(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def main():
    Handler.directory = sys.argv[1]
    Handler.names = names_below(sys.argv[1])
    server = Server(("127.0.0.1", 0), Handler)
    with open(sys.argv[2], "w", encoding="ascii") as file:
        file.write(str(server.server_port))
    server.serve_forever()


main()
