"""Asking the editor's user about the changes of a turn, file by file, and writing those that are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from acp import RequestError

from vivace.commands.acp.front import AcpFront
from vivace.commands.acp.updates import change_diff
from vivace.core.errors import VivaceError
from vivace.harness.hunks import Piece, pieces
from vivace.harness.policy.gate import Answer
from vivace.harness.policy.protected import never, run_later
from vivace.harness.sessions.changes import Change
from vivace.harness.sessions.deciding import settle
from vivace.harness.sessions.session import Session

_BUFFER_SECONDS = 5.0


def decide(session: Session, front: AcpFront, more: Sequence[str], *, take_all: bool, buffers: Any,
           telemetry: bool = False) -> bool:
    """Whether everything is taken without asking from here on.

    Args:
        more: patterns of files that are asked about in any case.
        take_all: nothing else is asked about.
        buffers: an `acp.Client` that reads files as the editor has them, unsaved changes included; None: it cannot.
    """
    sides: dict[str, list[Piece]] = {"taken": [], "left": [], "later": []}
    for path, change in sorted(session.pending().items()):
        mine = [piece for piece in pieces(session.pending()) if piece.path == path]
        why = run_later(path, more)
        if reason := _impossible(path, change, front, buffers):
            front.note(f"{path} is not written: {reason}")
            sides["left" if never(path) else "later"] += mine
            continue
        answer: Answer | None = "once"
        if why or not take_all:
            title = f"Write {path}" + (f" ({why}, outside the sandbox)" if why else "")
            answers: list[Answer] = ["once", "no"] if why else ["once", "always", "no"]
            answer = front.permit(title, "edit", answers, change_diff(session.repo / path, change))
        take_all = take_all or answer == "always"
        sides["later" if answer is None else "left" if answer == "no" else "taken"] += mine
    try:
        settle(session, sides["taken"], sides["left"], sides["later"], more, telemetry=telemetry)
    except VivaceError as error:
        front.note(str(error))
        return take_all
    names = {side: sorted({piece.path for piece in found}) for side, found in sides.items() if found}
    front.note("; ".join(f"{side}: {', '.join(paths)}" for side, paths in names.items()))
    return take_all


def _impossible(path: str, change: Change, front: AcpFront, buffers: Any) -> str | None:
    if why := never(path):
        return f"it {why}"
    if not change.known:
        return "you have changed it while the agent worked"
    if buffers is None or change.before is None:
        return None
    asked = asyncio.run_coroutine_threadsafe(
        buffers.read_text_file(session_id=front.session_id, path=str(front.repo / path)), front.loop)
    try:
        held = asked.result(_BUFFER_SECONDS).content
    except (RequestError, TimeoutError):
        asked.cancel()
        return None  # not open there; the file itself is compared when it is written
    if held.encode() not in (change.before, change.before.replace(b"\r\n", b"\n")):
        return "your editor has unsaved changes of it; save them and ask again"
    return None
