"""Going on when a conversation nears the end of its window: the model sums it up, and a new segment begins with that.

Nothing recorded is rewritten: the old segment ends with the summing up, which the policy sampled like anything else,
and the new one is a prompt of its own. Every segment is a sample by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from vivace.core.types import Message

REQUEST = """\
The context window is nearly full. Sum up this conversation so that you can go on with your summary alone. Call no \
tool. Say: what was asked, in the user's words where they matter; what you found out, with files and lines; what you \
have changed, and how it was tested; what failed and why; what is left to do, and the very next step."""
LONGEST = 2048
"""Tokens of a summary."""
SHORTEST_RESULT = 64
"""Tokens that a result may have, however full the window is."""
MUST_SHRINK = 0.9
"""The new conversation may be at most this share of the old one."""


def begun_anew(messages: Sequence[Message], request: str, summary: str) -> list[Message]:
    """The first messages of the new segment: the system message as it was, and the request with the summary."""
    text = (f"{request}\n\n<summary>\nThe conversation so far no longer fits. This is your own summary of it; the "
            f"files are as you left them.\n{summary.strip()}\n</summary>")
    return [messages[0], Message(role="user", content=text)]
