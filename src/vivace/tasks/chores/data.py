"""Chores with data: logs, tables, records."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from vivace.tasks.chores.base import CITIES, GOODS, SURNAMES, Chore, dumped, python, same, stamp

ROUTES = ("/", "/login", "/search", "/cart", "/health", "/api/items", "/api/orders")


def log(rng: random.Random) -> Chore:
    """An access log, of which some lines are broken, as counts."""
    people = rng.sample(SURNAMES, 5)
    rows = [(stamp(rng), rng.choice(people), rng.choice(ROUTES), rng.choice((200, 200, 200, 301, 404, 500, 503)),
             rng.randint(3, 900)) for _ in range(rng.randint(22, 34))]  # fmt: skip
    lines = [f"{at} {who} GET {route} {status} {ms}ms" for at, who, route, status, ms in rows]
    for junk in ("-- restarted --", "", f"{stamp(rng)} truncated"):
        lines.insert(rng.randint(0, len(lines)), junk)
    text = "\n".join(lines) + "\n"
    errors = Counter(route for _, _, route, status, _ in rows if status >= 500)
    value = {"requests": len(rows), "errors": sum(errors.values()),
             "errors_by_route": dict(errors), "slowest_ms": max(row[4] for row in rows)}
    asked = ("Lines are `TIME USER GET ROUTE STATUS MSms`; other lines do not count. An error is a status of 500 or "
             "more.")
    return Chore(
        (f"Summarise desk/access.log as JSON in desk/summary.json, with the keys requests, errors, errors_by_route "
         f"(route to number, only routes with errors) and slowest_ms. {asked}",
         f"I need desk/summary.json from desk/access.log: how many requests, how many errors, errors_by_route as an "
         f"object (routes without errors left out), and slowest_ms; the first two keys are requests and errors. "
         f"{asked}"),
        {"access.log": text}, {"summary.json": dumped(value)},
        [{"path": "summary.json", "json": value}, same("access.log", text)],
        ["head -5 desk/access.log", python(
            "import json, re", "n = e = slow = 0", "by = {}", "for line in open('access.log'):",
            r"    m = re.fullmatch(r'\S+ \S+ GET (\S+) (\d{3}) (\d+)ms', line.strip())", "    if m:", "        n += 1",
            "        slow = max(slow, int(m[3]))", "        if int(m[2]) >= 500:", "            e += 1",
            "            by[m[1]] = by.get(m[1], 0) + 1",
            "json.dump(dict(requests=n, errors=e, errors_by_route=by, slowest_ms=slow), open('summary.json', 'w'))")],
        [{"summary.json": dumped({**value, "requests": len(lines)})}, {"summary.json": "{}\n"}],
    )  # fmt: skip


def table(rng: random.Random) -> Chore:
    """Sales with blanks, doubles and mixed case, as totals by city."""
    rows = [(n + 100, rng.choice(CITIES[:6]), rng.choice(GOODS), rng.randint(1, 30), rng.randint(2, 90))
            for n in range(rng.randint(14, 22))]  # fmt: skip
    written = [f"{n},{rng.choice((city, city.upper(), f' {city.lower()} '))},{good},{count},{price}"
               for n, city, good, count, price in rows]  # fmt: skip
    written += rng.sample(written, 2)
    rng.shuffle(written)
    text = "id,city,item,count,price\n" + "\n".join(written) + "\n"
    totals: dict[str, int] = defaultdict(int)
    for _, city, _, count, price in rows:
        totals[city] += count * price
    ranked = sorted(totals.items(), key=lambda one: (-one[1], one[0]))
    want = [["city", "total"], *([city, str(total)] for city, total in ranked)]
    asked = ("Cities are written in several ways (case, blanks): use Title case. A repeated id is the same sale and "
             "counts once.")
    return Chore(
        (f"Write desk/totals.csv from desk/sales.csv: header city,total; total is the sum of count times price; "
         f"highest total first, equal ones by name. {asked}",
         f"desk/sales.csv needs cleaning up. Put revenue by city (count * price) into desk/totals.csv with columns "
         f"city and total, sorted by total downwards, then by city. {asked}"),
        {"sales.csv": text}, {"totals.csv": "\n".join(",".join(row) for row in want) + "\n"},
        [{"path": "totals.csv", "csv": want}, same("sales.csv", text)],
        ["head -4 desk/sales.csv", python(
            "import csv", "seen, total = set(), {}", "for r in csv.DictReader(open('sales.csv')):",
            "    if r['id'] in seen:", "        continue", "    seen.add(r['id'])", "    c = r['city'].strip().title()",
            "    total[c] = total.get(c, 0) + int(r['count']) * int(r['price'])",
            "with open('totals.csv', 'w') as f:", "    print('city,total', file=f)",
            "    for c, n in sorted(total.items(), key=lambda x: (-x[1], x[0])):",
            "        print(c, n, sep=',', file=f)")],
        [{"totals.csv": "city,total\n"}, {"totals.csv": text}],
    )  # fmt: skip


def records(rng: random.Random) -> Chore:
    """Records and later changes of them, as the state they lead to."""
    people = rng.sample(SURNAMES, 8)
    base = {str(n): {"id": str(n), "name": name, "city": rng.choice(CITIES), "points": rng.randint(0, 50)}
            for n, name in enumerate(people, 1)}  # fmt: skip
    now = {key: dict(row) for key, row in base.items()}
    changes: list[dict[str, object]] = []
    for _ in range(rng.randint(7, 11)):
        key = rng.choice(sorted(base))
        kind = rng.choice(("set", "set", "add", "delete"))
        if kind == "set":
            change: dict[str, object] = {"op": "set", "id": key, "city": rng.choice(CITIES)}
        elif kind == "add":
            change = {"op": "add", "id": key, "points": rng.randint(1, 9)}
        else:
            change = {"op": "delete", "id": key}
        changes.append(change)
        if key not in now:
            continue
        if kind == "delete":
            del now[key]
        elif kind == "set":
            now[key]["city"] = str(change["city"])
        else:
            now[key]["points"] = int(str(now[key]["points"])) + int(str(change["points"]))
    files = {"people.jsonl": _lines(list(base.values())), "changes.jsonl": _lines(changes)}
    value = [now[key] for key in sorted(now, key=int)]
    rule = ("`set` replaces the city, `add` adds to the points, `delete` removes the record; a change of a record that "
            "is not there (any more) is ignored. They apply in order.")
    return Chore(
        (f"Apply desk/changes.jsonl to desk/people.jsonl and write what results to desk/people.json, a list sorted by "
         f"id as a number. {rule}",
         f"What do the records in desk/people.jsonl look like after the operations in desk/changes.jsonl? Write them "
         f"as one JSON list, by ascending numeric id, to desk/people.json. {rule}"),
        files, {"people.json": dumped(value)},
        [{"path": "people.json", "json": value}, *(same(path, text) for path, text in files.items())],
        ["head -2 desk/people.jsonl desk/changes.jsonl", python(
            "import json", "rows = {r['id']: r for r in map(json.loads, open('people.jsonl'))}",
            "for c in map(json.loads, open('changes.jsonl')):", "    r = rows.get(c['id'])", "    if r is None:",
            "        continue", "    if c['op'] == 'delete':", "        del rows[c['id']]",
            "    elif c['op'] == 'set':", "        r['city'] = c['city']", "    else:",
            "        r['points'] += c['points']",
            "json.dump(sorted(rows.values(), key=lambda r: int(r['id'])), open('people.json', 'w'))")],
        [{"people.json": dumped(list(base.values()))}, {"people.json": "[]\n"}],
    )  # fmt: skip


def addresses(rng: random.Random) -> Chore:
    """Addresses in letters, each once."""
    hosts = ("example.org", "mail.example.net", "corp.example.com")
    names = rng.sample(SURNAMES, 9)
    real = [f"{name}{rng.choice(('', '.' + rng.choice('abc'), str(rng.randint(1, 9))))}@{rng.choice(hosts)}"
            for name in names]  # fmt: skip
    files = {}
    for number in range(1, 5):
        said = rng.sample(real, 4)
        files[f"letters/{number}.txt"] = (
            f"Dear {rng.choice(names).title()},\nplease write to {said[0]} or <{said[1].upper()}>; not to @{names[0]} "
            f"or {names[1]}@localhost.\nCopy: {said[2]}, {said[3]}.\n")
    found = sorted({one for one in real if any(one in text.lower() for text in files.values())})
    rule = "Small letters, each once, sorted; an address has a dot in the part after the @."
    return Chore(
        (f"Collect all e-mail addresses from desk/letters into desk/addresses.txt, one a line. {rule}",
         f"Which e-mail addresses stand in the files of desk/letters? List them in desk/addresses.txt, one a line. "
         f"{rule}"),
        files, {"addresses.txt": "\n".join(found) + "\n"},
        [{"path": "addresses.txt", "text": "\n".join(found)}, *(same(path, text) for path, text in files.items())],
        ["cat desk/letters/1.txt", r"cat desk/letters/*.txt | tr 'A-Z' 'a-z' | grep -oE "
         r"'[a-z0-9.]+@[a-z0-9-]+(\.[a-z0-9-]+)+' | sort -u > desk/addresses.txt; wc -l desk/addresses.txt"],
        [{"addresses.txt": "\n".join([*real, f"{names[1]}@localhost"]) + "\n"},
         {"addresses.txt": "\n".join([*found, found[0]]) + "\n"}],
    )  # fmt: skip


def _lines(rows: list[dict[str, object]]) -> str:
    import json

    return "".join(json.dumps(row) + "\n" for row in rows)
