"""Unified diffs in git's dress: made from, and applied to, plain {path: text} mappings.

Lines end at "\\n" only, so carriage returns and form feeds survive a round trip, and so does a last line
without a newline. Context must match exactly; a hunk whose place has shifted is found at the nearest exact
match below the hunk before it. Format: git-diff(1), "generating patch text with -p".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from vivace.core.errors import BadInput
from vivace.sandbox.patch_parse import GIT_HEADER, Hunk, parse_patch, split_lines

_NO_NEWLINE = "\\ No newline at end of file\n"
_OPCODE = tuple[str, int, int, int, int]


def make_patch(old: Mapping[str, str], new: Mapping[str, str], context: int = 3) -> str:
    """The patch that turns the files `old` into the files `new`, in path order; "" if they are equal."""
    return "".join(
        _file_patch(path, old.get(path), new.get(path), context)
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    )


def apply_patch(files: Mapping[str, str], patch: str) -> dict[str, str | None]:
    """The files that `patch` changes, with their new text; None for a file that it deletes.

    Raises:
        BadInput: the patch is malformed, or does not fit `files`. Nothing is applied by halves.
    """
    changed: dict[str, str | None] = {}
    for part in parse_patch(patch):
        name = part.old or part.new or ""
        before = changed[name] if name in changed else files.get(name)
        if part.old is None:
            if before is not None:
                raise BadInput(f"patch creates {name}, which exists; apply it to the tree it was made from")
            before = ""
        elif before is None:
            raise BadInput(f"patch changes {name}, which is missing; apply it to the tree it was made from")
        after = _apply_hunks(name, before, part.hunks)
        if part.new is None and after:
            raise BadInput(
                f"patch deletes {name}, but not all of its lines; apply it to the tree it was made from"
            )
        if part.new != part.old and part.old is not None:
            changed[part.old] = None
        if part.new is not None:
            changed[part.new] = after
    return changed


def undo_patch(files: Mapping[str, str], patch: str) -> dict[str, str | None]:
    """The files that `patch` has changed, with their text as it was before; None for a file that it made.

    Raises:
        BadInput: the patch is malformed, or is not in `files`.
    """
    changed: dict[str, str | None] = {}
    for part in reversed(parse_patch(patch)):
        name = part.new or part.old or ""
        after = (changed[name] if name in changed else files.get(name)) if part.new is not None else ""
        if after is None:
            raise BadInput(f"patch has made {name}, which is missing; undo it on the tree that has it")
        before = _apply_hunks(name, after, [replace(hunk, old=hunk.new, new=hunk.old) for hunk in part.hunks])
        if part.new is not None and part.new != part.old:
            changed[part.new] = None
        if part.old is not None:
            changed[part.old] = before
    return changed


def patched_paths(patch: str) -> list[str]:
    """Every path that `patch` reads or writes, sorted.

    Raises:
        BadInput: the patch is malformed.
    """
    return sorted({path for part in parse_patch(patch) for path in (part.old, part.new) if path})


def _file_patch(path: str, old: str | None, new: str | None, context: int) -> str:
    a, b = _quote(f"a/{path}"), _quote(f"b/{path}")
    out = [f"{GIT_HEADER}{a} {b}\n"]
    if old is None:
        out.append("new file mode 100644\n")
    if new is None:
        out.append("deleted file mode 100644\n")
    old_lines, new_lines = split_lines(old or ""), split_lines(new or "")
    if old_lines or new_lines:  # an empty file has no hunks, hence no names above them
        out.append(f"--- {'/dev/null' if old is None else a}\n+++ {'/dev/null' if new is None else b}\n")
    for group in _groups(old_lines, new_lines, context):
        out += _hunk(group, old_lines, new_lines)
    return "".join(out)


def _groups(old: list[str], new: list[str], context: int) -> Iterator[list[_OPCODE]]:
    """Hunks as groups of difflib opcodes. The equal start and end are cut off first: difflib is quadratic."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    low, tail = max(0, start - context), max(0, end - context)
    matcher = difflib.SequenceMatcher(
        None, old[low : len(old) - tail], new[low : len(new) - tail], autojunk=False
    )
    for group in matcher.get_grouped_opcodes(context):
        yield [(tag, i1 + low, i2 + low, j1 + low, j2 + low) for tag, i1, i2, j1, j2 in group]


def _hunk(group: list[_OPCODE], old: list[str], new: list[str]) -> list[str]:
    old_span, new_span = (group[0][1], group[-1][2]), (group[0][3], group[-1][4])
    out = [f"@@ -{_range(*old_span)} +{_range(*new_span)} @@\n"]
    for tag, i1, i2, j1, j2 in group:
        if tag == "equal":
            out += [_line(" ", line) for line in old[i1:i2]]
            continue
        out += [_line("-", line) for line in old[i1:i2]]
        out += [_line("+", line) for line in new[j1:j2]]
    return out


def _range(start: int, stop: int) -> str:
    length = stop - start
    first = start if length == 0 else start + 1  # an empty range names the line before it
    return str(first) if length == 1 else f"{first},{length}"


def _line(sign: str, line: str) -> str:
    return sign + line if line.endswith("\n") else f"{sign}{line}\n{_NO_NEWLINE}"


def _quote(path: str) -> str:
    """A path as git writes it: in C quotes where a control character, quote or backslash occurs."""
    if not re.search(r'[\x00-\x1f\x7f"\\]', path):
        return path
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    return (
        '"'
        + "".join(named.get(c) or (f"\\{ord(c):03o}" if c < " " or c == "\x7f" else c) for c in path)
        + '"'
    )


def _apply_hunks(name: str, text: str, hunks: list[Hunk]) -> str:
    lines = split_lines(text)
    out: list[str] = []
    done = shift = 0
    for number, hunk in enumerate(hunks, 1):
        at = _locate(lines, hunk, done, hunk.start + shift)
        if at is None:
            raise BadInput(
                f"patch does not fit {name}: hunk {number} (line {hunk.start + 1}) finds no such lines"
            )
        shift = at - hunk.start
        out += lines[done:at] + hunk.new
        done = at + len(hunk.old)
    return "".join(out + lines[done:])


def _locate(lines: list[str], hunk: Hunk, low: int, expected: int) -> int | None:
    size = len(hunk.old)
    if size == 0:  # nothing to match: only its own place will do
        return expected if low <= expected <= len(lines) else None
    if expected >= low and lines[expected : expected + size] == hunk.old:
        return expected
    places = [at for at in range(low, len(lines) - size + 1) if lines[at : at + size] == hunk.old]
    return min(places, key=lambda at: abs(at - expected)) if places else None
