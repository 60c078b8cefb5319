"""What others wrote, made safe to print: a model or a file must not steer the terminal."""

from __future__ import annotations

import re

from rich.text import Text

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def plain(text: str) -> str:
    """Without escape sequences and control characters; tabs and line ends stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def diff_lines(patch: str, most: int = 10**6) -> list[Text]:
    """The lines of a patch in colour, without what only programs read; at most `most`, and a word on the rest."""
    lines = [line for line in plain(patch).splitlines()
             if not line.startswith(("diff --git ", "--- ", "+++ ", "new file mode", "deleted file mode"))]  # fmt: skip
    shown = [Text(line.expandtabs(4), style=_STYLES.get(line[:1], "")) for line in lines[:most]]
    if len(lines) > most:
        shown.append(Text(f"... {len(lines) - most} more lines", style="dim"))
    return shown


def short_count(number: int) -> str:
    """1234 as 1.2k."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 100_000 else f"{number / 1e6:.1f}M" if number >= 1e6 else \
        f"{number // 1000}k"
