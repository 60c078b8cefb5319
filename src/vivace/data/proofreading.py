"""Proofreading drills: source with faults in some of its lines, each followed at once by what the line should be.

An episode asks once in 200 tokens which line is wrong; here every line asks it, in its own context: what comes after
it is either the next line or a `newString`. Nothing is executed, and nothing else of the harness is in them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from vivace.data.documents import Document
from vivace.data.repair import RepairConfig, choose, sited_functions
from vivace.tasks.mutate import Site
from vivace.text.chat import Renderer

LINES = 30
"""Of one drill at most, but for a function that is longer."""
WRONG = 0.25
"""Share of lines with a fault, at most; never fewer than one a function."""


def proof_documents(
    documents: Iterable[Document], renderer: Renderer, config: RepairConfig
) -> Iterator[tuple[list[int], list[float]]]:
    """(ids, loss weights): weight 1 on the mended lines and on what comes right after a line, `context_weight` on the
    rest; deterministic by seed."""
    for document in documents:
        rng = random.Random(f"{config.seed}:proofs:{document.package}:{document.path}")
        functions = list(sited_functions(document, config).values())
        rng.shuffle(functions)
        drill: list[tuple[str, str]] = []
        for (first, last), own in functions:
            faults = {site.line: site for site in _faults(own, last - first + 1, config, rng)}
            lines = _lines(document.text, first, last, faults)
            if drill and len(drill) + len(lines) > LINES:
                yield _rendered(drill, renderer, config.context_weight)
                drill = []
            drill += lines
        if drill:
            yield _rendered(drill, renderer, config.context_weight)


def _faults(own: list[Site], lines: int, config: RepairConfig, rng: random.Random) -> list[Site]:
    most = rng.randint(1, max(1, int(WRONG * lines)))
    return choose(own, config.model_copy(update={"max_faults": most, "more_faults": 0.999}), rng)


def _lines(text: str, first: int, last: int, faults: dict[int, Site]) -> list[tuple[str, str]]:
    """Lines first to last as (shown, mended): mended is "" where the line shown is right. Blank lines go with the
    line after them."""
    clean = text.split("\n")
    pairs, before = [], ""
    for number in range(first, last + 1):
        line = clean[number - 1]
        if not line.strip():
            before += "\n"
            continue
        shown = _broken(text, faults[number]) if number in faults else line
        pairs.append((f"{before}\n{shown}", line.strip() if number in faults else ""))
        before = ""
    return pairs


def _broken(text: str, site: Site) -> str:
    """The line of this fault with it."""
    begin, end = text.rfind("\n", 0, site.start) + 1, text.find("\n", site.end)
    return f"{text[begin : site.start]}{site.replacement}{text[site.end : end if end >= 0 else len(text)]}"


def _rendered(drill: list[tuple[str, str]], renderer: Renderer, context: float) -> tuple[list[int], list[float]]:
    ids, weights = [renderer.bos], [0.0]
    empty = renderer.argument("newString", "")
    for number, (shown, mended) in enumerate(drill):
        line = renderer.tokenizer.encode(shown)
        ids += line
        weights += [1.0 if number else context] + [context] * (len(line) - 1)
        if mended:
            answer = renderer.argument("newString", mended)[len(empty) :]
            ids += [*empty, *answer]
            weights += [1.0] + [0.0] * (len(empty) - 1) + [1.0] * len(answer)
    return [*ids, renderer.end], [*weights, 1.0]
