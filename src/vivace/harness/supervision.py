"""Process supervision: what each step of an attempt was worth, without a critic, and how training may use it.

`informative` is added to the labels of `vivace.harness.steps`: a look whose result a later edit (or the answer) rests
on. For SFT, `kept_mask` leaves steps out of the loss by label. For RL, `shaping` values an attempt's steps within a
small bound and `shaped` adds it to a group's rewards; nothing calls it unless a trainer does, after `vivace.rl.reward`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from vivace.core.errors import BadInput
from vivace.core.types import Attempt, Message, Segment, Trajectory
from vivace.harness.steps import label_steps

Label = Literal["ok", "failed", "repeated", "wasted", "informative"]
BAD: frozenset[Label] = frozenset({"failed", "repeated", "wasted"})
VALUES: Mapping[Label, float] = {"ok": 0.0, "informative": 0.01, "failed": -0.01, "repeated": -0.02, "wasted": -0.02}
BOUND = 0.1
"""Most that steps may change a reward: far less than a solution is worth, so that no order is turned round."""
LOOKS = frozenset({"read_file", "list_dir", "file_search", "grep_search", "get_errors", "get_changed_files"})
_EDITS = frozenset({"replace_string_in_file", "multi_replace_string_in_file", "create_file"})
LEAST_SHOWN = 8
"""Characters of a line that must have been shown for it to count as used."""


def labels(trajectory: Trajectory) -> list[Label]:
    """One label for each assistant turn.

    A turn that is ok otherwise and only looked is `informative` if a line that it showed, and no turn before had,
    stands in the text that a later edit replaces, or in the final answer.
    """
    found: list[Label] = list(label_steps(trajectory))
    shown = _results(trajectory.messages)
    steps = [message for message in trajectory.messages if message.role == "assistant"]
    seen: set[str] = set()
    for turn, message in enumerate(steps):
        lines = {line for result in shown[turn] for line in _plain(result)} - seen
        seen |= lines
        looked = bool(message.tool_calls) and all(call.name in LOOKS for call in message.tool_calls)
        if found[turn] == "ok" and looked and any(lines & _used(later) for later in steps[turn + 1 :]):
            found[turn] = "informative"
    return found


def _results(messages: Sequence[Message]) -> list[list[str]]:
    """Tool results by assistant turn."""
    found: list[list[str]] = []
    for message in messages:
        if message.role == "assistant":
            found.append([])
        elif message.role == "tool" and found:
            found[-1].append(message.content)
    return found


def _plain(text: str) -> set[str]:
    """Lines without their outer blanks, and without the `path:12:` or `12:` that tools put before them."""
    bare = (re.sub(r"^\s*(?:[\w./-]+:)?\d+[:|]\s?", "", line).strip() for line in text.split("\n"))
    return {line for line in bare if len(line) >= LEAST_SHOWN}


def _used(message: Message) -> set[str]:
    """Lines that a turn rests on: those that its edits replace, or what it says at the end."""
    if not message.tool_calls:
        return _plain(message.content)
    texts = [str(value) for call in message.tool_calls if call.name in _EDITS
             for name, value in call.arguments.items() if name in ("oldString", "replacements")]  # fmt: skip
    return {line for text in texts for line in _plain(text.replace("\\n", "\n"))}


def kept_mask(segment: Segment, found: Sequence[Label], drop: Collection[Label] = BAD) -> list[int]:
    """The segment's mask without the tokens of turns whose label is in `drop`.

    Raises:
        BadInput: there are fewer labels than turns.
    """
    if max(segment.turns, default=-1) >= len(found):
        raise BadInput(f"{len(found)} labels for {max(segment.turns) + 1} turns; label the trajectory of this segment")
    return [mask if mask and found[turn] not in drop else 0 for mask, turn in zip(segment.mask, segment.turns)]


def shaping(found: Sequence[Label], solved: bool, values: Mapping[Label, float] = VALUES,
            bound: float = BOUND) -> float:
    """The worth of an attempt's steps, at most `bound` in size.

    Gated: what speaks for an attempt counts only if it is solved, otherwise looking around would be worth something by
    itself; what speaks against it always counts.
    """
    worth = sum(value for one in found if (value := values.get(one, 0.0)) < 0 or solved)
    return max(-bound, min(bound, worth))


def shaped(rewards: Sequence[float | None], attempts: Sequence[Attempt], *, weight: float = 1.0,
           values: Mapping[Label, float] = VALUES, bound: float = BOUND) -> list[float | None]:
    """A group's rewards (`GroupReward.rewards`) with the worth of its steps; attempts without a verdict stay without.

    A group of which all attempts are solved, or none, still gets a gradient by this: that of its process. With `weight`
    0 it has none.
    """
    return [None if reward is None else
            reward + weight * shaping(labels(attempt.trajectory), attempt.grade.solved, values, bound)
            for reward, attempt in zip(rewards, attempts, strict=True)]  # fmt: skip


def label_counts(trajectories: Sequence[Trajectory]) -> dict[str, int]:
    """How many steps bear each label, for a report."""
    counts: dict[str, int] = dict.fromkeys(VALUES, 0)
    for trajectory in trajectories:
        for one in labels(trajectory):
            counts[one] += 1
    return counts
