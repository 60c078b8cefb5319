"""Cutting long text, and matching paths against the globs that editors use."""

from __future__ import annotations

import re
from functools import lru_cache

HEAD_SHARE = 0.4


def clip(text: str, most: int) -> str:
    """At most about `most` characters: 40% from the start, 60% from the end, and a note between them."""
    if len(text) <= most:
        return text
    head = int(most * HEAD_SHARE)
    return f"{text[:head]}\n[... {len(text) - most} characters left out ...]\n{text[len(text) - (most - head):]}"


def shorten(text: str, most: int) -> str:
    """One line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."


@lru_cache(maxsize=256)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob over whole relative paths: `*` and `?` stay within a folder, `**` crosses them, `{a,b}` is a choice.

    As in VS Code, a pattern may match at any depth, and a folder's name stands for everything below it.
    """
    glob = glob.strip().removeprefix("./").lstrip("/")
    if glob.endswith("/"):
        glob += "**"
    return re.compile(rf"(?:.*/)?{_translate(glob)}(?:/.*)?", re.DOTALL)


def _translate(glob: str) -> str:
    out, i, depth = "", 0, 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
            continue
        if glob.startswith("**", i):
            out, i = out + ".*", i + 2
            continue
        c = glob[i]
        closing = glob.find("]", i + 2)
        if c == "[" and closing > 0:
            inside = glob[i + 1 : closing].replace("\\", "\\\\")
            out += f"[{'^' + inside[1:] if inside[0] in '!^' else inside}]"
            i = closing
        elif c == "{" and "}" in glob[i:]:
            out, depth = out + "(?:", depth + 1
        elif c == "}" and depth:
            out, depth = out + ")", depth - 1
        elif c == "," and depth:
            out += "|"
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c))
        i += 1
    return out + ")" * depth
