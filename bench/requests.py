#!/usr/bin/env python3
"""Sums up requests in the log of a Ceph gateway: method, kind of object, and what they cost at AWS.

  requests.py PREFIX MINUTES < LOG

PREFIX is the bucket and the place of the cluster in it. Prices are those of S3 Standard in us-east-1 in 2026:
PUT and LIST 5 dollars a million, GET and HEAD 0.4, DELETE nothing.
"""
import collections
import re
import sys
import urllib.parse

PRICE = {"PUT": 5.0, "POST": 5.0, "LIST": 5.0, "GET": 0.4, "HEAD": 0.4, "DELETE": 0.0}
REQUEST = re.compile(r'"(GET|PUT|HEAD|DELETE|POST) (\S+) HTTP')


def main():
    prefix, minutes = sys.argv[1], float(sys.argv[2])
    counts = collections.Counter()
    for line in sys.stdin:
        found = REQUEST.search(line)
        if not found:
            continue
        method, target = found.groups()
        path, _, query = target.partition("?")
        arguments = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        name = urllib.parse.unquote(path).lstrip("/")
        if "list-type" in arguments:
            method, name = "LIST", f"{name.split('/')[0]}/{arguments.get('prefix', '')}"
        kind = name.removeprefix(prefix).split("/")[0] or "the cluster"
        counts[method, kind] += 1
    hour = 60 / minutes
    total = 0.0
    for (method, kind), count in sorted(counts.items(), key=lambda entry: -entry[1]):
        cost = count * hour * PRICE[method] / 1e6
        total += cost
        print(f"{count * hour:8.0f} an hour  {method:6} {kind}")
    print(f"{sum(counts.values()) * hour:8.0f} an hour  in all: {total * 24 * 30:.2f} dollars in 30 days")


if __name__ == "__main__":
    main()
