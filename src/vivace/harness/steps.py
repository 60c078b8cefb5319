"""Judging single steps of an attempt without a critic, so that training can leave the bad ones out.

Deterministic step errors (calls that cannot be parsed, paths that do not exist, edits that did not apply or broke the
syntax, repetitions, edits of which nothing remains) are left out of the loss while the step that recovers from them
stays in: the context is never changed. Cf. SRFT, arXiv 2605.10674.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vivace.core.errors import BadInput
from vivace.core.types import Message, Segment, ToolCall, Trajectory
from vivace.harness.tools.base import ERROR_KINDS
from vivace.harness.tools.coerce import CoercionError, coerce
from vivace.harness.tools.multi_replace_string_in_file import MultiReplaceArgs

Label = Literal["ok", "failed", "repeated", "wasted"]
_EDITS = frozenset({"replace_string_in_file", "multi_replace_string_in_file", "create_file", "edit", "create"})
_CHANGING = _EDITS | {"run_in_terminal", "send_to_terminal", "bash", "write_bash"}
_LEAVING = frozenset({"partial", "broken_syntax", "timeout"})
"""Errors that leave a change behind."""


def label_steps(trajectory: Trajectory) -> list[Label]:
    """One label for each assistant turn.

    failed: a call of the turn ended in an error, or the answer was cut. repeated: the same calls were made before and
    nothing was changed since. wasted: edits of which nothing is left in the final patch, unless they take back an
    earlier edit, which is a recovery. Anything else is ok.
    """
    steps = _steps(trajectory.messages)
    failed = {o.turn for o in trajectory.outcomes if o.kind in ERROR_KINDS}
    effective = [o for o in trajectory.outcomes if o.kind not in ERROR_KINDS or o.kind in _LEAVING]
    changed = {o.turn for o in effective if o.tool in _CHANGING}
    made: list[_Edit] = []
    remains = _Remains(trajectory.patch)
    labels: list[Label] = []
    seen: set[str] = set()
    for turn, message in enumerate(steps):
        key = str([(call.name, sorted(call.arguments.items(), key=str)) for call in message.tool_calls])
        edits = [edit for call in message.tool_calls if call.name in _EDITS for edit in _edits(call)]
        if turn in failed:
            labels.append("failed")
        elif message.tool_calls and key in seen:
            labels.append("repeated")
        elif edits and not any(remains.of(edit) or _takes_back(edit, made) for edit in edits):
            labels.append("wasted")
        else:
            labels.append("ok")
        made += edits if turn in changed else []
        if turn in changed:
            seen.clear()  # looking again is no repetition then
        seen.add(key)
    return labels


def train_mask(segment: Segment, labels: Sequence[str]) -> list[int]:
    """The segment's mask without the tokens of turns that are not `ok`.

    Raises:
        BadInput: there are fewer labels than turns.
    """
    if max(segment.turns, default=-1) >= len(labels):
        raise BadInput(f"{len(labels)} labels for {max(segment.turns) + 1} turns; label the trajectory of this segment")
    return [mask if mask and labels[turn] == "ok" else 0 for mask, turn in zip(segment.mask, segment.turns)]


def _steps(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if message.role == "assistant"]


@dataclass(frozen=True)
class _Edit:
    """Lines that an edit takes away and puts in, outer blanks dropped; lines in both are context."""

    removed: tuple[str, ...]
    added: tuple[str, ...]


def _edit(old: str, new: str) -> _Edit:
    before, after = ([line.strip() for line in text.splitlines() if line.strip()] for text in (old, new))
    return _Edit(
        tuple(line for line in before if line not in after), tuple(line for line in after if line not in before)
    )


def _edits(call: ToolCall) -> list[_Edit]:
    """The edits of a call; malformed calls have none."""
    arguments = call.arguments
    if call.name == "create":
        return [_edit("", str(arguments.get("file_text", "")))]
    if call.name == "edit":
        return [_edit(str(arguments.get("old_str", "")), str(arguments.get("new_str", "")))]
    if call.name == "create_file":
        return [_edit("", str(arguments.get("content", "")))]
    if call.name == "replace_string_in_file":
        return [_edit(str(arguments.get("oldString", "")), str(arguments.get("newString", "")))]
    try:
        wanted = coerce(MultiReplaceArgs, arguments)
    except CoercionError:
        return []
    return [_edit(r.oldString, r.newString) for r in wanted.replacements]


def _takes_back(edit: _Edit, made: Sequence[_Edit]) -> bool:
    """Everything that `edit` removes was put in by one earlier edit, and what it adds was removed by that one."""
    return any(
        (edit.removed or edit.added)
        and all(_within(part, earlier.added) for part in edit.removed)
        and all(_within(part, earlier.removed) for part in edit.added)
        for earlier in made
    )


def _within(part: str, lines: Sequence[str]) -> bool:
    return any(part in line or line in part for line in lines)


class _Remains:
    """What of an edit can still be seen in the final patch."""

    def __init__(self, patch: str) -> None:
        self.added: list[str] = []
        self.removed: list[str] = []
        for line in patch.splitlines():
            if line.startswith("+") and not line.startswith("+++ "):
                self.added.append(line[1:])
            elif line.startswith("-") and not line.startswith("--- "):
                self.removed.append(line[1:])

    def of(self, edit: _Edit) -> bool:
        """Some line that the edit added is in the patch; or, if it added none, some line that it removed."""
        if edit.added:
            return any(part in line for part in edit.added for line in self.added)
        if edit.removed:
            return any(part in line for part in edit.removed for line in self.removed)
        return bool(self.added or self.removed)  # lines moved, or blanks only: nothing to tell them by
