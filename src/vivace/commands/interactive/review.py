"""Taking or leaving what the agent has changed, hunk by hunk, before the real files are touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from vivace.commands.interactive.text import diff_lines, plain
from vivace.core.errors import VivaceError
from vivace.harness.hunks import Piece, pieces
from vivace.harness.policy.protected import never, run_later
from vivace.harness.sessions.deciding import settle
from vivace.harness.sessions.session import Session

KEYS = "ynadl"
HELP = "y takes it, n leaves it, a takes all from here, d leaves all from here, l is for later"
Ask = Callable[[str, str], str]
"""(question, keys) to the key that was pressed."""


def show_pending(session: Session, console: Console) -> None:
    """All changes that are in no checkout yet."""
    found = pieces(session.pending())
    if not found:
        console.print("no changes to decide on", style="dim")
    path = ""
    for piece in found:
        if piece.path != path:
            path = piece.path
            console.print(Text(f"── {plain(path)} {piece.title}".rstrip(), style="bold"))
        show(piece, console)


def show(piece: Piece, console: Console) -> None:
    for line in diff_lines(piece.patch):
        console.print(line)


def review(session: Session, console: Console, ask: Ask, yes: bool = False, more: Sequence[str] = (),
           telemetry: bool = False) -> None:
    """Go through the pending changes: what is taken is in the checkout afterwards, what is left the model is told."""
    found = pieces(session.pending())
    taken, left, later = _decide(found, console, ask, yes, more)
    try:
        settle(session, taken, left, later, more, telemetry=telemetry)
    except VivaceError as error:
        console.print(f"{error}", style="red", markup=False)
        return
    parts = [f"{len(group)} {word}" for group, word in ((taken, "taken"), (left, "left"), (later, "to decide later"))
             if group]
    console.print(f"{', '.join(parts)}: {_names(taken or left or later)}", style="bold", markup=False)


def _decide(
    found: list[Piece], console: Console, ask: Ask, yes: bool, more: Sequence[str]
) -> tuple[list[Piece], list[Piece], list[Piece]]:
    sides: dict[str, list[Piece]] = {"y": [], "n": [], "l": []}
    all_others = "y" if yes else ""
    path = ""
    for number, piece in enumerate(found, 1):
        if piece.path != path:
            path = piece.path
            console.print()
            console.print(Text(f"── {plain(path)} {piece.title}".rstrip(), style="bold"))
        show(piece, console)
        if piece.title == "changed by you meanwhile":
            console.print("cannot be taken: you have changed this file while the agent worked", style="yellow")
            sides["n"].append(piece)
            continue
        if why := never(piece.path):
            console.print(f"cannot be taken: it {why}", style="yellow")
            sides["n"].append(piece)
            continue
        question, own = f"take this? ({number} of {len(found)})", run_later(piece.path, more)
        if own and all_others not in ("n", "l"):  # no "all" and no --yes covers it
            console.print(f"{own}, outside the sandbox: it needs a yes of its own", style="yellow")
            sides[ask(question, "ynl")].append(piece)
            continue
        key = all_others or ask(question, KEYS)
        if key in "ad":
            key = all_others = "y" if key == "a" else "n"
        elif key == "l" and not all_others:
            all_others = "l"  # what comes after is not decided either
        sides[key].append(piece)
    return sides["y"], sides["n"], sides["l"]


def _names(found: list[Piece]) -> str:
    return ", ".join(dict.fromkeys(plain(piece.path) for piece in found))
