"""Chores with a history, with a package's own files, and with a program to be written."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Mapping

from vivace.core.syntax import python_tree
from vivace.tasks.chores.base import CITIES, GOODS, Chore, dumped, python, same


def history(rng: random.Random) -> Chore:
    """A git history as a stream: who changed a value, and what stood there before."""
    people = ("Ada", "Ben", "Cleo", "Dan")
    limit, lines, marks = rng.randint(10, 99), [], []
    values = {"limit": limit, "retries": 3, "ttl": 60}
    for number in range(1, rng.randint(7, 10)):
        key = rng.choice(sorted(values)) if number > 1 else "ttl"
        values[key] += rng.randint(1, 9)
        text = "".join(f"{name} = {value}\n" for name, value in values.items())
        who = rng.choice(people)
        marks.append((number, who, key, dict(values), text))
        subject = f"{rng.choice(('Tune', 'Adjust', 'Change'))} settings ({number})"
        at = f"{who} <{who.lower()}@example.org> {1714500000 + 86400 * number} +0000"
        lines.append(f"commit refs/heads/main\nmark :{number}\nauthor {at}\ncommitter {at}\ndata "
                     f"{len(subject)}\n{subject}\n" + (f"from :{number - 1}\n" if number > 1 else "")
                     + f"M 100644 inline settings.txt\ndata {len(text)}\n{text}\n")
    changed = [mark for mark, before in zip(marks[1:], marks) if mark[3]["limit"] != before[3]["limit"]]
    if not changed:
        return history(rng)
    last = changed[-1]
    before = marks[last[0] - 2][3]["limit"]
    value = {"author": last[1], "before": before, "after": last[3]["limit"]}
    restored = "".join(f"{name} = {before if name == 'limit' else number}\n" for name, number in marks[-1][3].items())
    stream = "".join(lines)
    return Chore(
        ("desk/history.fi is a git history (git fast-import, branch main) with one file, settings.txt. Who last "
         "changed `limit`, and from what to what? Write desk/answer.json with author (name only), before and after "
         "(numbers), and desk/settings.txt: the newest version with that one change undone. Leave no other "
         "files behind.",
         "Import desk/history.fi (git fast-import) and find the last commit that changed `limit` in settings.txt. "
         "desk/answer.json shall have its author's name and the numbers before and after (keys author, before, after); "
         "desk/settings.txt the newest settings, but with limit as before that commit. No other files may be left."),
        {"history.fi": stream}, {"answer.json": dumped(value), "settings.txt": restored},
        [{"path": "answer.json", "json": value}, {"path": "settings.txt", "text": restored},
         same("history.fi", stream)],
        ["git init -q old && git -C old fast-import --quiet < desk/history.fi && git -C old log --format='%h %an %s' "
         "-G '^limit' main -- settings.txt", python(
            "import json, subprocess",
            "git = lambda *a: subprocess.check_output(['git', '-C', '../old', *a], text=True)",
            "at = lambda c: dict(l.split(' = ') for l in git('show', c + ':settings.txt').splitlines())",
            "c = git('log', '--format=%H', '-G', '^limit', 'main', '--', 'settings.txt').split()[0]",
            "old, new = int(at(c + '^')['limit']), int(at(c)['limit'])",
            "who = git('log', '-1', '--format=%an', c).strip()",
            "json.dump({'author': who, 'before': old, 'after': new}, open('answer.json', 'w'))",
            "now = at('main')", "now['limit'] = str(old)",
            "open('settings.txt', 'w').writelines(f'{k} = {v}\\n' for k, v in now.items())")],
        [{"answer.json": dumped(value), "settings.txt": marks[-1][4]},
         {"answer.json": dumped({**value, "before": limit}), "settings.txt": restored}], prepared=True,
    ) if before != limit else history(rng)  # fmt: skip


def census(rng: random.Random, sources: Mapping[str, str]) -> Chore | None:
    """Facts about the package's own files."""
    counted = {}
    for path, text in sources.items():
        if len(text) < 60_000 and re.search(r"^(async )?def ", text, re.MULTILINE):
            body = python_tree(text).body
            counted[path] = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in body)
    tops = sorted({path.split("/")[0] if "/" not in path else path.rsplit("/", 1)[0] for path in counted})
    top = rng.choice(tops) if tops else ""
    inside = {path: count for path, count in counted.items() if path.startswith(f"{top}/")}
    if not 2 <= len(inside) <= 30 or rng.random() < 0.1:
        return None
    want = {path: count for path, count in inside.items() if count}
    rule = "`def` and `async def` at the very start of a line, nothing indented; files without any are left out"
    return Chore(
        (f"How many functions does each Python file below {top} define at its top level ({rule})? Write "
         f"desk/census.json, an object from path (from the root of the repository) to number.",
         f"desk/census.json please: for each .py file below {top}, its path from the root and the number of its "
         f"top-level functions ({rule})."),
        {}, {"census.json": dumped(want)}, [{"path": "census.json", "json": want}],
        [f"grep -cE '^(async )?def ' -r {top} --include='*.py' | head", python(
            "import json, pathlib, re", "found = {}", f"for p in sorted(pathlib.Path('..', '{top}').rglob('*.py')):",
            "    n = len(re.findall(r'^(?:async )?def ', p.read_text(), re.M))", "    if n:",
            "        found[str(p.relative_to('..'))] = n", "json.dump(found, open('census.json', 'w'))")],
        [{"census.json": "{}\n"}, {"census.json": dumped({path: count + 1 for path, count in want.items()})}],
    )  # fmt: skip


def program(rng: random.Random) -> Chore:
    """A small program, tried on files that were not shown."""
    least = rng.randint(20, 60)
    unit = rng.choice(("kg", "pcs", "box"))

    def instance() -> tuple[str, dict[str, int]]:
        totals: dict[str, int] = {}
        lines = []
        for _ in range(rng.randint(6, 12)):
            good, count, kind = rng.choice(GOODS), rng.randint(1, 40), rng.choice((unit, unit, "lb"))
            lines.append(f"{rng.choice(CITIES)}: {good} {count} {kind}")
            if kind == unit:
                totals[good] = totals.get(good, 0) + count
        rng.shuffle(lines)
        return "\n".join(lines) + "\n", {good: total for good, total in totals.items() if total >= least}

    shown, expected = instance()
    hidden = [instance() for _ in range(3)]
    wishes = [{"run": ["python3", "totals.py", f"input{n}.txt"], "files": {f"input{n}.txt": text}, "json": want}
              for n, (text, want) in enumerate(hidden, 1)]  # fmt: skip
    code = ("import json, re, sys\n\ntotals = {}\nfor line in open(sys.argv[1]):\n"
            f"    found = re.fullmatch(r'\\w+: (\\w+) (\\d+) {unit}', line.strip())\n    if found:\n"
            "        totals[found[1]] = totals.get(found[1], 0) + int(found[2])\n"
            f"print(json.dumps({{good: n for good, n in totals.items() if n >= {least}}}))\n")
    rule = (f"lines are `CITY: GOOD NUMBER UNIT`; it sums the numbers by good, of lines in {unit} only, leaves out "
            f"sums below {least}, and prints a JSON object from good to sum")
    return Chore(
        (f"Write desk/totals.py (Python, standard library). `python3 totals.py FILE` is run in desk on files like "
         f"desk/example.txt, others than this one: {rule}.",
         f"I need a script desk/totals.py that takes a file name and reports sums: {rule}. desk/example.txt is an "
         f"example; it has to work on others."),
        {"example.txt": shown}, {"totals.py": code}, [*wishes, same("example.txt", shown)],
        ["head -3 desk/example.txt",
         f"cat > desk/totals.py <<'END'\n{code}END\ncd desk && python3 totals.py example.txt"],
        [{"totals.py": f"print({dumped(expected).strip()!r})\n"}, {"totals.py": "print('{}')\n"},
         {"totals.py": code.replace(f">= {least}", f"> {least * 3}")}],
    )  # fmt: skip
