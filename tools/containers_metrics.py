"""Holds Prometheus against the table that was played: tools/containers_metrics.py URL TABLE

Each row was one request, so Prometheus must come to know as many decisions for each reason as the table has rows.
"""

import collections
import json
import sys
import time
import urllib.parse
import urllib.request

LABELS = {"plugin", "decision", "enforced", "reason", "provider", "policy", "rule"}
# Prometheus scrapes every five seconds.
TRIES = 60

url, table = sys.argv[1:]


def ask(path):
    with urllib.request.urlopen(f"{url}/api/v1/{path}", timeout=5) as answer:
        return json.load(answer)["data"]


def query(expression):
    return ask("query?query=" + urllib.parse.quote(expression))["result"]


with open(table, encoding="utf-8") as lines:
    rows = [line.split() for line in lines]
# Between the line under the heads and the empty one: what was sent, the status, what the service saw, the reason.
start = next(number for number, row in enumerate(rows) if row and set("".join(row)) == {"-"})
played = collections.Counter(row[-1] for row in rows[start + 1 : rows.index([], start)])
assert len(played) > 5, played

known = {}
for _ in range(TRIES):
    known = {row["metric"]["reason"]: int(row["value"][1]) for row in query("sum by (reason) (usher_decisions_total)")}
    if known == played:
        break
    time.sleep(1)
if known != played:
    sys.exit(f"containers: Prometheus knows {known}, and played was {dict(played)}")
for series in query("usher_decisions_total"):
    missing = LABELS - series["metric"].keys()
    if missing:
        sys.exit(f"containers: without {', '.join(sorted(missing))}: {series['metric']}")
rules = [rule["name"] for group in ask("rules")["groups"] for rule in group["rules"] if rule["health"] == "ok"]
if "UsherDenialRate" not in rules:
    sys.exit(f"containers: the alerts are not evaluated: {ask('rules')}")
print(f"containers: Prometheus knows {sum(known.values())} decisions by {len(known)} reasons, and evaluates {len(rules)} alerts")
