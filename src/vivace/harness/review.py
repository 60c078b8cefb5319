"""One look back before an attempt ends: what a reader of the change would see at once, told while it can be mended.

Only facts, and nothing where there are none: a change that is fine costs no token. Cf. SWE-agent's review on submit.
"""

from __future__ import annotations

import re

from vivace.core.errors import BadInput
from vivace.harness.edit.diagnostics import syntax_problem
from vivace.harness.tools.base import Context
from vivace.harness.tools.text import clip

_LEFTOVER = re.compile(r"(?:.*/)?(?:repro|reproduce|debug|scratch|tmp|temp)(?:[_-]\w*)?\.(?:py|sh|txt|log)"
                       r"|.*\.(?:orig|rej|bak)")  # fmt: skip
_MOST_DIFF = 3000


def review(ctx: Context) -> str | None:
    """What the model reads before it may finish; None if there is nothing to say, or nothing was changed."""
    workspace = ctx.env.workspace
    changed = workspace.changed_files()
    facts = [*_broken(ctx, changed), *_untested(ctx), *_left(ctx, changed)]
    if not changed or not facts:
        return None
    lines = "\n".join(f"- {fact}" for fact in facts)
    diff = clip(workspace.diff(), _MOST_DIFF)
    return f"Before you finish, one look at the change:\n{lines}\n\n{diff}\nMend what is wrong, or finish as it is."


def _broken(ctx: Context, changed: list[str]) -> list[str]:
    """Files that parsed before and do not now."""
    found = []
    for path in changed:
        try:
            now = syntax_problem(path, ctx.env.workspace.read_text(path))
        except BadInput:  # deleted, or no text
            continue
        before = (ctx.env.workspace.base_bytes(path) or b"").decode(errors="replace")
        if now and not syntax_problem(path, before):
            found.append(f"{ctx.show(path)} does not parse: line {now.line}: {now.message}")
    return found


def _untested(ctx: Context) -> list[str]:
    """How the tests that were run stand to the files as they are."""
    if not ctx.tested:
        return []
    state = ctx.env.workspace.state_digest()
    now = [result for (tested, _), result in ctx.tested.items() if tested == state]
    if not now:
        return ["the files have changed since tests were last run"]
    return ["the last test run failed"] if now[-1].kind == "tests_failed" else []


def _left(ctx: Context, changed: list[str]) -> list[str]:
    """New files that look like aids of the work."""
    new = [path for path in changed if ctx.env.workspace.base_bytes(path) is None and _LEFTOVER.fullmatch(path)]
    return [f"new files that may be left over: {', '.join(map(ctx.show, new[:8]))}"] if new else []
