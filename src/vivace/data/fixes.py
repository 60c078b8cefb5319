"""Fixing drills: broken lines of one module and what they should be, pair after pair, in the syntax of an edit.

An episode of 300 tokens shows one or two fixes; here there is one every 35 tokens. They do not say where a fault is
(the broken line is given, and not learnt), only what becomes of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from vivace.data.documents import Document
from vivace.data.repair import RepairConfig, choose, sited_functions
from vivace.tasks.mutate import apply
from vivace.text.chat import Renderer

FUNCTIONS_PER_DRILL = 4


def fix_documents(
    documents: Iterable[Document], renderer: Renderer, config: RepairConfig, pairs: int = 12
) -> Iterator[tuple[list[int], list[float]]]:
    """(ids, loss weights): up to `pairs` faults a document, weight 1 on the mended lines; deterministic by seed."""
    many = config.model_copy(update={"max_faults": pairs, "more_faults": 0.999})
    for document in documents:
        rng = random.Random(f"{config.seed}:fixes:{document.package}:{document.path}")
        functions = list(sited_functions(document, config).values())
        rng.shuffle(functions)
        for start in range(0, len(functions), FUNCTIONS_PER_DRILL):
            own = [site for _, found in functions[start : start + FUNCTIONS_PER_DRILL] for site in found]
            lines = []
            for site in choose(own, many, rng):
                at = site.line - 1
                broken, clean = (text.split("\n")[at].strip() for text in (apply(document.text, site), document.text))
                lines.append((broken, clean))
            yield _drill(lines, renderer)


def _drill(lines: list[tuple[str, str]], renderer: Renderer) -> tuple[list[int], list[float]]:
    ids, weights = [renderer.bos], [0.0]
    for broken, clean in lines:
        asked = renderer.argument("oldString", broken)
        given = renderer.argument("newString", "")
        answer = renderer.argument("newString", clean)[len(given) :]
        ids += [*asked, *given, *answer]
        weights += [0.0] * (len(asked) + len(given)) + [1.0] * len(answer)
    return [*ids, renderer.end], [*weights, 1.0]
