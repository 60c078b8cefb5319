"""Reading unified diffs into files and hunks, git's extended headers and quoted names included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vivace.core.errors import BadInput

GIT_HEADER = "diff --git "
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPES = dict(zip('ntr"\\abfv', (b"\n", b"\t", b"\r", b'"', b"\\", b"\a", b"\b", b"\f", b"\v")))


def split_lines(text: str) -> list[str]:
    """Lines with their "\\n"; unlike `str.splitlines`, no other character ends a line."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


@dataclass
class Hunk:
    """One hunk: where its old lines are expected (0-based), and the old and new lines, context included."""

    start: int
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


@dataclass
class FilePatch:
    """The changes to one file; `old` is None for a new file, `new` for a deleted one."""

    old: str | None
    new: str | None
    hunks: list[Hunk] = field(default_factory=list)


def parse_patch(patch: str) -> list[FilePatch]:
    """The files of a patch, git's extended headers understood, binary hunks refused.

    Raises:
        BadInput: not a unified diff.
    """
    lines = split_lines(patch if patch.endswith("\n") or not patch else patch + "\n")
    parts: list[FilePatch] = []
    at = 0
    while at < len(lines):
        if lines[at].startswith(GIT_HEADER):
            at = _parse_git_file(lines, at, parts)
        elif lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ "):
            parts.append(FilePatch(None, None))
            at = _parse_body(lines, at, parts[-1])
        elif lines[at].startswith(("@@ ", "GIT binary patch", "Binary files ")):
            raise BadInput(
                f"patch line {at + 1} cannot be applied ({lines[at].strip()[:60]}); give a text patch"
            )
        else:
            at += 1  # prose before or between files
    if patch.strip() and not parts:
        raise BadInput(
            "this is not a patch: no file header in it; give a unified diff as `git diff` prints it"
        )
    return parts


def _parse_git_file(lines: list[str], at: int, parts: list[FilePatch]) -> int:
    old, new = _header_names(lines[at][len(GIT_HEADER) :].rstrip("\n"), at)
    part = FilePatch(old, new)
    parts.append(part)
    at += 1
    while at < len(lines):
        line = lines[at].rstrip("\n")
        if line.startswith("new file mode"):
            part.old = None
        elif line.startswith("deleted file mode"):
            part.new = None
        elif line.startswith("rename from "):
            part.old = _unquote(line[len("rename from ") :])
        elif line.startswith("rename to "):
            part.new = _unquote(line[len("rename to ") :])
        elif not line.startswith(
            ("index ", "old mode", "new mode", "similarity index", "dissimilarity index")
        ):
            break
        at += 1
    return _parse_body(lines, at, part)


def _header_names(text: str, at: int) -> tuple[str, str]:
    if text.startswith('"'):
        match = re.fullmatch(r'("(?:[^"\\]|\\.)*") ("(?:[^"\\]|\\.)*"|.*)', text)
        names = (match[1], match[2]) if match else None
    else:
        middle = len(text) // 2  # "a/X b/X": the halves are equally long unless it is a rename
        even = text[middle : middle + 1] == " " and text[1:middle] == text[middle + 2 :]
        halves = text.split(" b/", 1) if " b/" in text else None
        names = (
            (text[:middle], text[middle + 1 :]) if even else (halves[0], "b/" + halves[1]) if halves else None
        )
    if names is None:
        raise BadInput(
            f"patch line {at + 1}: cannot read the file names; give a patch as `git diff` prints it"
        )
    return _strip(_unquote(names[0])), _strip(_unquote(names[1]))


def _strip(name: str) -> str:
    return name[2:] if name.startswith(("a/", "b/")) else name


def _parse_body(lines: list[str], at: int, part: FilePatch) -> int:
    """The "---"/"+++" lines, which name the file more surely than the header, and the hunks."""
    if at + 1 < len(lines) and lines[at].startswith("--- ") and lines[at + 1].startswith("+++ "):
        old, new = (_unquote(lines[i][4:].rstrip("\n")) for i in (at, at + 1))
        part.old = None if old == "/dev/null" else _strip(old)
        part.new = None if new == "/dev/null" else _strip(new)
        if part.old is None and part.new is None:
            raise BadInput(
                f"patch line {at + 1}: both sides are /dev/null; give a patch as `git diff` prints it"
            )
        at += 2
    while at < len(lines) and lines[at].startswith("@@ "):
        at = _parse_hunk(lines, at, part)
    return at


def _parse_hunk(lines: list[str], at: int, part: FilePatch) -> int:
    match = _HUNK.match(lines[at])
    if not match:
        raise BadInput(f"patch line {at + 1}: bad hunk header; it should read @@ -line,count +line,count @@")
    old_left, new_left = (1 if match[i] is None else int(match[i]) for i in (2, 4))
    hunk = Hunk(int(match[1]) - (1 if old_left else 0))
    part.hunks.append(hunk)
    header, at = at, at + 1
    last: list[list[str]] = []
    while at < len(lines):
        sign, text = lines[at][0], lines[at][1:]
        if sign == "\\":
            for side in last:
                side[-1] = side[-1].removesuffix("\n")
        elif old_left <= 0 and new_left <= 0:
            break
        elif sign in " -+\n":
            last = [side for side, signs in ((hunk.old, " -\n"), (hunk.new, " +\n")) if sign in signs]
            for side in last:
                side.append(text if sign != "\n" else "\n")  # some editors strip the blank of an empty line
            old_left -= sign != "+"
            new_left -= sign != "-"
        else:
            break
        at += 1
    if old_left or new_left:
        raise BadInput(
            f"patch line {header + 1}: the hunk is shorter or longer than its header says; make it again"
        )
    return at


def _unquote(text: str) -> str:
    if not (text.startswith('"') and text.endswith('"')):
        return text.split("\t")[0]
    out = b""
    for match in re.finditer(r"\\([0-7]{3})|\\(.)|([^\\]+)", text[1:-1]):
        octal, escape, plain = match.groups()
        out += (
            bytes([int(octal, 8) & 255]) if octal else _ESCAPES.get(escape, b"") if escape else plain.encode()
        )
    return out.decode(errors="replace")
