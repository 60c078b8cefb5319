"""Output too long to be shown: both ends of it, and all of it in a file that can be read."""

from __future__ import annotations

from vivace.core.errors import BadInput
from vivace.harness.tools.base import Context
from vivace.harness.tools.text import clip
from vivace.sandbox.snapshot import OUTPUT_DIR


def fitted(ctx: Context, text: str, most: int) -> str:
    """`text` within about `most` characters. What is cut is kept in the workspace, where it is no part of the work;
    not in the terse form, whose models would not go and read it."""
    if ctx.terse or len(text) <= most:
        return clip(text, most)
    workspace, number = ctx.env.workspace, 1
    while workspace.exists(f"{OUTPUT_DIR}/{number}.txt"):
        number += 1
    path = f"{OUTPUT_DIR}/{number}.txt"
    try:
        workspace.write_text(path, text)
    except BadInput:  # a command has put something else there
        return clip(text, most)
    return f"{clip(text, most)}\n(All of it is in {ctx.show(path)}.)"
