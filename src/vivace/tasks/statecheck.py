"""Whether files are as they should be. Stands alone (standard library, one file): exported tasks carry it along.

A wish is a record: `path` and one of `text` (equal but for blanks at line ends and the end), `lines` (equal as a set,
no line twice), `json` (equal value), `csv` (equal rows), `absent` (no such file), `same` (SHA-256 of its text); or
`run` (arguments of a command), `files` that are put there first, and `json` or `text` of what it prints.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

MOST = 1 << 20


def problem(texts: Mapping[str, str], wish: Mapping[str, Any]) -> str:
    """What is wrong with the files {path: text} by one wish that is not a `run`; "" if nothing is."""
    path = wish["path"]
    if "absent" in wish:
        return f"{path} should not be there" if path in texts else ""
    if path not in texts:
        return f"there is no {path}"
    if "same" in wish:
        changed = hashlib.sha256(texts[path].encode()).hexdigest() != wish["same"]
        return f"{path} was changed" if changed else ""
    found = wrong(texts[path], wish)
    return f"{path}: {found}" if found else ""


def wrong(text: str, wish: Mapping[str, Any]) -> str:
    """What is wrong with a text, or what a command printed."""
    if len(text) > MOST:
        return "too long"
    if "text" in wish:
        return "" if plain(text) == plain(wish["text"]) else "not the right text"
    if "lines" in wish:
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        right = set(lines) == set(wish["lines"]) and len(lines) == len(set(lines))
        return "" if right else "not the right lines"
    if "csv" in wish:
        try:
            rows = [row for row in csv.reader(io.StringIO(text.replace("\r\n", "\n"), newline="")) if row]
        except csv.Error:
            return "not CSV"
        return "" if rows == wish["csv"] else "not the right rows"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "not JSON"
    return "" if alike(value, wish["json"]) else "not the right value"


def alike(value: Any, want: Any) -> bool:
    """Equality of JSON values: true is no 1, and 1.0 is 1."""
    if isinstance(value, bool) or isinstance(want, bool):
        return value is want
    if isinstance(want, (int, float)) and isinstance(value, (int, float)):
        return abs(value - want) <= 1e-9 * max(1.0, abs(want))
    if type(value) is not type(want):
        return False
    if isinstance(want, list):
        return len(value) == len(want) and all(map(alike, value, want))
    if isinstance(want, dict):
        return value.keys() == want.keys() and all(alike(value[key], want[key]) for key in want)
    return value == want


def plain(text: str) -> str:
    """Without blanks at line ends and at the end."""
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))


def main(arguments: Sequence[str]) -> int:
    """Check the tree at arguments[0] by the wishes in the JSON file arguments[1]; print what is wrong."""
    root = arguments[0]
    texts: dict[str, str] = {}
    with open(arguments[1], encoding="utf-8") as file:
        wishes = json.load(file)
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > MOST:
                continue
            with open(path, "rb") as data:
                texts[os.path.relpath(path, root).replace(os.sep, "/")] = data.read().decode("utf-8", "replace")
    bad = [found for wish in wishes if "run" not in wish for found in [problem(texts, wish)] if found]
    for wish in (wish for wish in wishes if "run" in wish):
        for path, text in wish["files"].items():
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as made:
                made.write(text)
        try:
            done = subprocess.run(wish["run"], cwd=root, capture_output=True, text=True, timeout=30)
            found = wrong(done.stdout, wish) if done.returncode == 0 else f"exit code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            found = type(error).__name__
        bad += [f"{' '.join(wish['run'])}: {found}"] if found else []
    print("\n".join(bad) or "all as it should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
