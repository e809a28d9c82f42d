#!/usr/bin/env python3
"""Holds the rules, the dashboard and the runbook in ops/ against the list of metrics and each other, and that
list against the sources in src/ beside it.

    check_ops.py OPS QUERIES

Writes the dashboard's queries to the file QUERIES as recording rules, for promtool to parse. Prints what is
wrong, and exits with 1 if anything is.
"""
import collections
import json
import pathlib
import re
import sys

import yaml

METRIC = re.compile(r"\bveza_backup_\w+")
# A metric and its HELP text as C++ has them, and a constant with a name of one.
HELP_IN_SOURCE = re.compile(r'"(veza_backup_\w+)",\s*((?:"(?:[^"\\]|\\.)*"\s*)+)[,)]')
NAME_IN_SOURCE = re.compile(r'\b(k\w+) = ("veza_backup_\w+");')
# Prometheus puts these on every sample, and node_exporter names the file that it read.
TARGET_LABELS = {"__name__", "instance", "job", "file"}
GRAFANA_VARIABLES = {"$__rate_interval": "5m", "$cluster": "main"}

problems = []


def check(condition, problem):
    if not condition:
        problems.append(problem)


def read_help(sources):
    """The HELP text of each metric, from the C++ files that write them."""
    texts = {}
    for path in sources:
        source = path.read_text()
        for constant, name in NAME_IN_SOURCE.findall(source):
            source = re.sub(rf"\b{constant},", f"{name},", source)
        for name, literals in HELP_IN_SOURCE.findall(source):
            texts[name] = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))
    return texts


def read_metrics(path, texts):
    """The labels of each metric, from a file in the exposition format with HELP and TYPE for each."""
    metrics = {}
    described = {"HELP": {}, "TYPE": {}}
    for line in path.read_text().splitlines():
        if match := re.match(r"# (HELP|TYPE) (\w+) (\S.*)", line):
            described[match[1]][match[2]] = match[3]
        elif match := re.match(r"(\w+)\{(.*)\} \S+$", line):
            labels = set(re.findall(r'(\w+)="', match[2]))
            check(metrics.setdefault(match[1], labels) == labels, f"{path.name}: labels of {match[1]} vary")
            check("cluster" in labels, f"{path.name}: {match[1]} has no label cluster")
        else:
            check(not line or line.startswith("#"), f"{path.name}: what is this? {line}")
    for kind, names in described.items():
        check(names.keys() == metrics.keys(),
              f"{path.name}: {kind} and samples differ: {names.keys() ^ metrics.keys()}")
    for name in sorted(set(texts) | set(metrics)):
        listed, written = described["HELP"].get(name), texts.get(name)
        check(listed == written, f"{path.name}: HELP of {name} is {listed!r}, in the sources {written!r}")
    return metrics


def check_query(where, query, metrics):
    used = set(METRIC.findall(query))
    for name in sorted(used - set(metrics)):
        problems.append(f"{where}: there is no metric {name}")
    known = TARGET_LABELS.union(*(metrics.get(name, set()) for name in used))
    named = {label for group in re.findall(r"\b(?:by|without|on) \(([^()]*)\)", query)
             for label in re.findall(r"\w+", group)}
    named |= set(re.findall(r"[{,](\w+)(?:=|!=|=~|!~)\"", query))
    for label in sorted(named - known):
        problems.append(f"{where}: no metric in it has a label {label}")


def read_alerts(path, metrics, anchors):
    alerts, records, used = set(), {}, set()
    for group in yaml.safe_load(path.read_text())["groups"]:
        for rule in group["rules"]:
            # What is recorded stands for its query.
            expr = rule["expr"]
            for record in [record for record in records if record in expr]:
                used.add(record)
                expr = expr.replace(record, f"({records[record]})")
            check_query(rule.get("alert", rule.get("record")), expr, metrics)
            if "record" in rule:
                records[rule["record"]] = expr
                continue
            name, notes = rule["alert"], rule["annotations"]
            alerts.add(name)
            check(set(notes) == {"summary", "description", "runbook_url"}, f"{name}: annotations {set(notes)}")
            check(rule["labels"].get("severity") in ("warning", "critical"), f"{name}: no severity")
            check(notes.get("runbook_url") == f"ops/runbook.md#{name.lower()}", f"{name}: runbook_url")
            check(name.lower() in anchors, f"{name}: not in the runbook")
    check(used == set(records), f"{path.name}: recorded for nothing: {set(records) - used}")
    return alerts


def check_tests(paths, alerts):
    outcomes = collections.defaultdict(set)
    for path in paths:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for test in group["alert_rule_test"]:
                outcomes[test["alertname"]].add(bool(test.get("exp_alerts")))
    for name in sorted(alerts | set(outcomes)):
        check(name in alerts, f"{name}: tested, but not an alert")
        check(outcomes[name] == {True, False}, f"{name}: has no test that it fires, or none that it does not")


def check_dashboard(path, metrics):
    """Returns its queries, with values for Grafana's variables."""
    board = json.loads(path.read_text())
    variables = {v["name"]: v for v in board["templating"]["list"]}
    check(set(variables) == {"datasource", "cluster"}, f"dashboard: variables {set(variables)}")
    check_query("dashboard: cluster", variables["cluster"]["query"]["query"], metrics)
    ids = [panel["id"] for panel in board["panels"]]
    check(len(ids) == len(set(ids)), "dashboard: the ids of the panels are not unique")
    cells, queries = {}, []
    for panel in board["panels"]:
        where = f"dashboard: {panel['title']}"
        place = panel["gridPos"]
        check(place["x"] + place["w"] <= 24, f"{where}: too wide")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                check(cells.setdefault((x, y), where) == where, f"{where}: lies over {cells[x, y]}")
        for target in panel.get("targets", []):
            query = target["expr"]
            check(target["datasource"]["uid"] == "${datasource}", f"{where}: another data source")
            check(all("$cluster" in selector for selector in re.findall(r"veza_backup_\w+(\{[^}]*\})?", query)),
                  f"{where}: not of one cluster: {query}")
            check_query(where, query, metrics)
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            known = TARGET_LABELS.union(*(metrics.get(name, set()) for name in METRIC.findall(query)))
            check(legend <= known, f"{where}: legend {legend - known}")
            for variable, value in GRAFANA_VARIABLES.items():
                query = query.replace(variable, value)
            queries.append(query)
    unused = set(metrics) - set(METRIC.findall(path.read_text()))
    check(not unused, f"dashboard: does not show {unused}")
    return queries


def main():
    ops, queries_file = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    texts = read_help(sorted((ops.parent / "src").rglob("*metrics.cpp")))
    metrics = read_metrics(ops / "metrics.txt", texts)
    anchors = {title.lower() for title in re.findall(r"(?m)^## (\w+)$", (ops / "runbook.md").read_text())}
    alerts = read_alerts(ops / "prometheus/veza_backup.rules.yml", metrics, anchors)
    check(anchors <= {a.lower() for a in alerts}, f"runbook: there are more sections than alerts: {anchors}")
    check_tests(sorted((ops / "prometheus").glob("*.test.yml")), alerts)
    queries = check_dashboard(ops / "grafana/veza_backup.json", metrics)
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    queries_file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
