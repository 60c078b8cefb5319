"""A session as a training sample: the form that fine-tuning reads, its tokens from the one renderer."""

from __future__ import annotations

from typing import Protocol

from vivace.core.errors import BadInput
from vivace.core.protocols import Codec
from vivace.core.types import Attempt, Grade, Message, Segment, ToolOutcome, Trajectory, Usage
from vivace.harness.limits import add_usage
from vivace.harness.prompts import system_message
from vivace.harness.sessions.session import Session
from vivace.harness.tools.registry import get_profile
from vivace.sandbox.patch import make_patch


class Speller(Codec, Protocol):
    """A codec that can also write answers (`text.chat.Renderer`)."""

    def answer(self, message: Message) -> list[int]: ...


def training_attempt(session: Session, renderer: Speller | None) -> Attempt:
    """The conversation as it stands (what was undone is not in it), as one row of `attempts.jsonl`.

    Args:
        renderer: of the model that is to learn from it; None: the ids that a native model saw and drew.
    Raises:
        BadInput: nothing was answered yet, or there are no ids and no renderer.
    """
    state = session.state
    parts = [*state.past, (state.messages, state.segment)]  # all but the first repeat the system message
    if not any(message.role == "assistant" for said, _ in parts for message in said):
        raise BadInput(f"session {session.log.name} has no answer to learn from")
    if renderer is not None:
        system = system_message(get_profile(state.settings["profile"]), native=True)
        turn, parts, given = 0, [], parts
        for said, _ in given:
            parts.append(([system, *said[1:]], render([system, *said[1:]], renderer, turn)))
            turn += sum(message.role == "assistant" for message in said)
    elif not all(segment.ids for _, segment in parts):
        raise BadInput(f"session {session.log.name} was held with an endpoint and has no ids; name the checkpoint that "
                       "is to learn from it with --model")
    usage = Usage()
    for row in state.turns:
        usage = add_usage(usage, Usage.model_validate(row["usage"]))
    messages = [message for at, (said, _) in enumerate(parts) for message in said[min(at, 1) :]]
    trajectory = Trajectory(
        messages=messages,
        task_id=f"session-{session.log.name}", segments=[segment for _, segment in parts], patch=_patch(session),
        outcomes=[ToolOutcome.model_validate(one) for row in state.turns for one in row["outcomes"]],
        usage=usage, turns=sum(row["turns"] for row in state.turns), seconds=sum(row["seconds"] for row in state.turns),
        hashes=state.turns[-1]["hashes"] if state.turns else {},
    )  # fmt: skip
    taken = bool(state.applied)
    return Attempt(task_id=trajectory.task_id, repo=session.repo.name, model=state.settings["model"],
                   trajectory=trajectory,
                   grade=Grade(status="solved" if taken else "failed", scores={"taken": float(taken)},
                               detail="the user has taken changes" if taken else "the user has taken no change"))


def render(messages: list[Message], renderer: Speller, turn: int = 0) -> Segment:
    """Ids, mask and turns of a conversation whose first answer is number `turn`, as the loop would have recorded it."""
    segment = Segment()
    for message in messages:
        ids, mask = renderer.message(message)
        answered = message.role == "assistant"
        segment.ids += ids
        segment.mask += mask
        segment.logprobs += [0.0] * len(ids)
        segment.turns += [turn if bit else -1 for bit in mask]
        turn += answered
    return segment


def _patch(session: Session) -> str:
    """What of the session's changes is in the checkout: from before the first to after the last of each file."""
    first: dict[str, str | None] = {}
    last: dict[str, str | None] = {}
    for row in session.state.applied:
        for path, (before, after) in row["changes"].items():
            first.setdefault(path, before)
            last[path] = after

    def texts(names: dict[str, str | None]) -> dict[str, str]:
        found = {path: session.log.contents(name) for path, name in names.items()}
        return {path: data.decode(errors="replace") for path, data in found.items() if data is not None}

    return make_patch(texts(first), texts(last))
