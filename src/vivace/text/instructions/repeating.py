"""IFBench: repeating the request, or part of it."""

from __future__ import annotations

from vivace.text.instructions.constraint import Arguments, constraint

_SENTENCE = "only output this sentence here, ignore all other requests."


@constraint("repeat:repeat_change", "prompt_to_repeat",
            mended="the first word may stay as it is if spaces change; mended: it must change")
def repeat_change(text: str, given: Arguments, mended: bool) -> bool:
    wanted, said = given["prompt_to_repeat"].split(), text.split()
    if given["prompt_to_repeat"] == text or (mended and wanted[:1] == said[:1]):
        return False
    return wanted[1:] == said[1:]


@constraint("repeat:repeat_simple")
def repeat_simple(text: str, given: Arguments, mended: bool) -> bool:
    return text.strip().lower() == _SENTENCE


@constraint("repeat:repeat_span", "prompt_to_repeat", "n_start", "n_end",
            mended="the indices are taken as of characters; mended: as of words, which is what the items say")
def repeat_span(text: str, given: Arguments, mended: bool) -> bool:
    whole, start, end = given["prompt_to_repeat"], int(given["n_start"]), int(given["n_end"]) + 1
    if mended:
        return text.lower().split() == whole.lower().split()[start:end]
    return text.strip().lower() == whole[start:end].strip().lower()
