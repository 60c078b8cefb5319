"""Failures that teach: what stands in the file where an edit did not fit."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from vivace.harness.edit.match import Refusal

_ENOUGH = 0.6
_MOST_LINES = 20
_MOST_WINDOWS = 20_000


@dataclass(frozen=True)
class Region:
    """Lines of the file closest to the text that was looked for. `differing` holds 1-based line numbers."""

    first: int
    lines: tuple[str, ...]
    differing: tuple[int, ...]


def closest_region(text: str, old: str) -> Region | None:
    """The window of as many lines as `old` that is most like it, if at least 60% alike."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    wanted = old.replace("\r\n", "\n").strip("\n").split("\n")
    size = min(len(wanted), len(lines))
    if not size or len(lines) - size > _MOST_WINDOWS:
        return None
    bare = [line.strip() for line in lines]
    bare_wanted = [line.strip() for line in wanted]
    best, best_ratio = -1, _ENOUGH
    matcher = difflib.SequenceMatcher(None, "", "\n".join(bare_wanted), autojunk=False)
    for at in range(len(lines) - size + 1):
        matcher.set_seq1("\n".join(bare[at : at + size]))
        if matcher.real_quick_ratio() > best_ratio and matcher.quick_ratio() > best_ratio:
            ratio = matcher.ratio()
            if ratio > best_ratio:
                best, best_ratio = at, ratio
    if best < 0:
        return None
    shown = lines[best : best + size]
    differing = [best + i + 1 for i, (a, b) in enumerate(zip(shown, wanted)) if a != b]
    return Region(best + 1, tuple(shown[:_MOST_LINES]), tuple(differing[:_MOST_LINES]))


def explain(refusal: Refusal, path: str, text: str, old: str, new: str, terse: bool) -> str:
    """One message for the model: the reason, and the facts that let it write a better call."""
    places = _numbers(refusal.lines)
    if refusal.reason == "no_change":
        return "old and new text are the same" if terse else "oldString and newString are the same: nothing to change"
    if refusal.reason == "ambiguous":
        if terse:
            return f"{len(refusal.lines)} matches: lines {places}; give more context"
        return (f"oldString occurs {len(refusal.lines)} times in {path} (lines {places}). "
                "Add lines before or after it until it is unique.")
    if refusal.reason == "already_applied":
        return (f"already done at line {places}" if terse else
                f"oldString is not in {path}, and newString already is (line {places}): the edit seems to be applied.")
    if refusal.reason == "omission":
        return ("write all lines, no omissions" if terse else
                "oldString or newString leaves code out with a comment such as `... existing code ...`. "
                "Write every line that is meant.")
    return _explain_no_match(path, text, old, terse)


def _explain_no_match(path: str, text: str, old: str, terse: bool) -> str:
    if not old:
        return "oldString is empty" if terse else f"oldString is empty but {path} is not; give the text to replace."
    region = closest_region(text, old)
    if terse:
        return "no match" if region is None else f"no match; line {_terse_region(region)}"
    if region is None:
        return f"oldString was not found in {path}, nor anything like it. Read the file and copy the text exactly."
    numbered = "\n".join(f"{region.first + i}: {line}" for i, line in enumerate(region.lines))
    last = region.first + len(region.lines) - 1
    place = f"line {last}" if last == region.first else f"lines {region.first}-{last}"
    differing = f"line{'s' if len(region.differing) > 1 else ''} {_numbers(region.differing)}"
    return f"oldString was not found in {path}. The closest text is at {place}; it differs at {differing}:\n{numbered}"


def _terse_region(region: Region, most: int = 3) -> str:
    """The lines that differ, as they are in the file."""
    differing = [n for n in region.differing if n - region.first < len(region.lines)][:most]
    return "\n".join(f"{n}: {region.lines[n - region.first].strip()[:120]}" for n in differing or [region.first])


def _numbers(lines: Sequence[int], most: int = 10) -> str:
    shown = ", ".join(map(str, lines[:most]))
    return f"{shown}, ..." if len(lines) > most else shown
