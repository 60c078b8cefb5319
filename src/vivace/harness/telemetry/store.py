"""The record: decisions about hunks and, later, what is left of those that were taken. Rows hold no code.

`decisions.jsonl` has a row for each hunk that was taken or left; `survival.jsonl` one for each moment at which a taken
one was looked at again. What the files were is in the session, by digest. Everything stays below the state folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vivace.core.files import append_jsonl, digest, read_jsonl, state_dir
from vivace.harness.hunks import Piece
from vivace.harness.sessions.changes import Change
from vivace.harness.sessions.log import LOG, SessionLog
from vivace.harness.telemetry.commits import committed, head
from vivace.harness.telemetry.survival import hunks, survival

MOMENTS = (0, 30, 120, 300, 600, 900)
"""Seconds after an edit was taken."""
LATE = 0.5
"""A look counts for its moment up to so many times the seconds late, but at least `LEAST_LATE_S`."""
LEAST_LATE_S = 15.0
COMMIT = "commit"
Row = dict[str, Any]


def note_decisions(
    log: SessionLog, taken: Sequence[Piece], left: Sequence[Piece], chosen: Mapping[str, Change], *,
    at: float | None = None,
) -> None:
    """Write down which hunks were taken and which were left, and what is to be looked at again.

    Args:
        chosen: the changes as they were written into the checkout.
        at: seconds since the epoch; default: now.
    """
    moment = time.time() if at is None else at
    base: Row = {"session": log.name, "repo": str(log.repo), "time": moment}
    for accepted, pieces in ((True, taken), (False, left)):
        for piece in pieces:
            added = sum(line.startswith("+") and not line.startswith("+++") for line in piece.patch.splitlines())
            gone = sum(line.startswith("-") and not line.startswith("---") for line in piece.patch.splitlines())
            _append("decisions", {**base, "path": piece.path, "accepted": accepted, "added": added, "removed": gone,
                                  "hunk": digest([piece.path, piece.patch])})
    commit = head(log.repo)
    for path, change in chosen.items():
        row = {**base, "path": path, "before": log.keep(change.before), "after": log.keep(change.after), "head": commit}
        _append("edits", {**row, "id": digest([row["session"], path, row["before"], row["after"], moment])})
    measure(at=moment)


def measure(*, at: float | None = None) -> int:
    """Look at the taken edits whose moments have come; returns how many looks were written down. Moments that were
    missed by more than their tolerance are left out, not guessed."""
    now = time.time() if at is None else at
    seen = {(row["edit"], row["moment"]) for row in _rows("survival")}
    written = 0
    for edit in _rows("edits"):
        age = now - edit["time"]
        for moment in MOMENTS:
            late = max(LEAST_LATE_S, LATE * moment)
            if moment <= age <= moment + late and (edit["id"], moment) not in seen:
                written += _look(edit, moment, age, _now(edit))
        if (edit["id"], COMMIT) not in seen and (found := committed(Path(edit["repo"]), edit["head"], edit["path"])):
            written += _look(edit, COMMIT, age, found[0])
    return written


def next_moment(at: float) -> float | None:
    """Seconds until some edit is to be looked at; None: none is."""
    ages = [at - edit["time"] for edit in _rows("edits")]
    waits = [moment - age for age in ages for moment in MOMENTS if moment > age]
    return min(waits, default=None)


def summary() -> Row:
    """Counts, and means by moment; tokens and seconds are those of the sessions that decisions were made in."""
    decisions = list(_rows("decisions"))
    looks = list(_rows("survival"))
    found: Row = {"taken": sum(row["accepted"] for row in decisions),
                  "left": sum(not row["accepted"] for row in decisions), "survival": {}}
    for moment in (*MOMENTS, COMMIT):
        mine = [row for row in looks if row["moment"] == moment]
        if mine:
            found["survival"][moment] = {
                "n": len(mine), "four_gram": sum(row["four_gram"] for row in mine) / len(mine),
                "no_revert": sum(row["no_revert"] for row in mine) / len(mine)}  # fmt: skip
    turns = [row for name in {row["session"] for row in decisions} for row in _turns(name)]
    found["turns"] = len(turns)
    found["seconds"] = sum(row["seconds"] for row in turns)
    for kind in ("input_tokens", "output_tokens"):
        found[kind] = sum(row["usage"].get(kind, 0) for row in turns)
    return found


def forget() -> None:
    """Delete everything that was noted here."""
    for name in ("decisions", "edits", "survival"):
        _path(name).unlink(missing_ok=True)


def _look(edit: Row, moment: int | str, age: float, now: bytes | None) -> int:
    before, after = _contents(edit, "before"), _contents(edit, "after")
    if after is None or (before is None and edit["before"]):
        return 0  # a deleted file, or the session is gone
    try:
        old, new = (before or b"").decode(), after.decode()
        current = None if now is None else now.decode()
    except UnicodeDecodeError:
        return 0
    parts = hunks(old, new)
    found = [survival(new, current, span, gone) for span, gone in parts]
    if not found:
        return 0
    _append("survival", {
        "edit": edit["id"], "session": edit["session"], "path": edit["path"], "moment": moment,
        "after_s": round(age, 1), "hunks": len(found), "four_gram": sum(one.four_gram for one in found) / len(found),
        "no_revert": sum(one.no_revert for one in found) / len(found)})  # fmt: skip
    return 1


def _now(edit: Row) -> bytes | None:
    path = Path(edit["repo"]) / edit["path"]
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _contents(edit: Row, side: str) -> bytes | None:
    path = state_dir("sessions", edit["session"]) / "blobs" / str(edit[side])
    return path.read_bytes() if edit[side] and path.is_file() else None


def _turns(session: str) -> Iterator[Row]:
    path = state_dir("sessions", session) / LOG
    return (row for row in read_jsonl(path) if row["type"] == "turn") if path.is_file() else iter(())


def _rows(name: str) -> Iterator[Row]:
    return read_jsonl(_path(name)) if _path(name).exists() else iter(())


def _append(name: str, row: Row) -> None:
    append_jsonl(_path(name), row, durable=True)


def _path(name: str) -> Path:
    return state_dir("telemetry") / f"{name}.jsonl"
