"""What the user has decided about the pieces of pending changes, carried out: taken, left, or kept for later."""

from __future__ import annotations

from collections.abc import Sequence

from vivace.harness.hunks import Piece, choose, patch_of, pieces
from vivace.harness.policy.protected import run_later
from vivace.harness.sessions.session import Session
from vivace.harness.telemetry.store import note_decisions


def settle(
    session: Session, taken: Sequence[Piece], left: Sequence[Piece], later: Sequence[Piece], more: Sequence[str] = (),
    *, telemetry: bool = False,
) -> None:
    """Write what was taken into the checkout; the model is told of what was left with the next request. Whoever calls
    has asked about each file that the host runs later by itself.

    Args:
        more: patterns of such files beside `policy.protected`'s own.
        telemetry: whether the user wants the decisions noted (`harness.telemetry`).
    Raises:
        BadInput, InfraError: as `Session.apply`; nothing has changed.
    """
    pending = session.pending()
    chosen, rest = choose(pending, taken)
    kept = choose(rest, [piece for piece in pieces(rest) if _body(piece) in {_body(one) for one in later}])[0]
    session.apply(chosen, kept, {piece.path for piece in taken if run_later(piece.path, more)}, more)
    if telemetry:
        note_decisions(session.log, taken, left, chosen)
    if left:
        refused = {path: change for path, change in choose(pending, left)[0].items() if change.known}
        session.remark("The user did not take these of your changes; the files are without them now:\n"
                       + (patch_of(refused) or ", ".join(sorted({piece.path for piece in left}))))


def _body(piece: Piece) -> tuple[str, str]:
    """A piece without its line numbers, which move when others are taken."""
    return piece.path, "".join(line for line in piece.patch.splitlines(keepends=True) if line[:1] in "+-")
