"""Mid-training documents that show repairs: functions with injected faults, then the edits that undo them.

One document is one episode in the form of the harness (`vivace.data.episodes`), through the one renderer, so that
post-training starts from a model that has seen the form. Nothing is executed here; faults come from the same
operators as the repair tasks, on corpus packages only (the held-out packages are not in the corpus).
"""

from __future__ import annotations

import ast
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from vivace.core.syntax import python_tree
from vivace.data.documents import Document
from vivace.data.episodes import Fault, Step, episode
from vivace.data.functions import span, walk_functions
from vivace.tasks.mutate import Site, apply, sites
from vivace.text.chat import Renderer


class RepairConfig(BaseModel):
    """Which functions become documents. Lengths in lines; `more_faults` is the chance of each further fault."""

    model_config = ConfigDict(extra="forbid")
    seed: int = 0
    min_lines: int = 3
    max_lines: int = 40
    more_faults: float = Field(0.35, ge=0, lt=1)
    max_faults: int = 4
    per_function: int = 1
    suspects: float = Field(0.2, ge=0, le=1)
    """Share of documents in which one to three more functions are named, each of them broken half of the time."""
    recover: float = Field(0.3, ge=0, le=1)
    """Share of documents with wrong edits first, one to `most_wrong`, each taken back by the next."""
    most_wrong: int = 3
    reads: float = Field(0.0, ge=0, le=1)
    """Share of documents in which each edit is preceded by the lines that lead up to it."""
    system: float = Field(0.5, ge=0, le=1)
    """Share of documents that open with the system message; it is always the same and soon known."""
    context_weight: float = Field(0.1, ge=0, le=1)


Sited = dict[str, tuple[tuple[int, int], list[Site]]]
"""Functions that can be broken, by name: their lines and what can be done to them."""


def repair_documents(
    documents: Iterable[Document], renderer: Renderer, config: RepairConfig
) -> Iterator[tuple[list[int], list[float]]]:
    """(ids, loss weights), `per_function` documents a function, in corpus order; deterministic by seed.

    Weights are 1 on the good turns of the assistant, 0 on its wrong ones and on the system message, and
    `context_weight` on the rest.
    """
    for document in documents:
        rng = random.Random(f"{config.seed}:{document.package}:{document.path}")
        sited = sited_functions(document, config)
        for name in sited:
            for _ in range(config.per_function):
                steps = episode(_fault(document, name, sited, config, rng), rng, rng.random() < config.reads)
                if steps:
                    yield _weighed(steps if rng.random() < config.system else steps[1:], renderer, config)


def _weighed(steps: Sequence[Step], renderer: Renderer, config: RepairConfig) -> tuple[list[int], list[float]]:
    ids: list[int] = []
    weights: list[float] = []
    for step in steps:
        more, mask = renderer.message(step.message)
        around = {"system": 0.0, "assistant": 0.0}.get(step.message.role, config.context_weight)
        ids += more
        weights += [(1.0 if step.good else 0.0) if sampled else around for sampled in mask]
    if ids[0] != renderer.bos:  # a system message brings its own
        ids, weights = [renderer.bos, *ids], [0.0, *weights]
    return ids, weights


def sited_functions(document: Document, config: RepairConfig) -> Sited:
    """Functions of a workable length whose name is defined once."""
    try:
        found, tree = sites(document.text), python_tree(document.text)
    except (SyntaxError, RecursionError, ValueError):
        return {}
    by_function: dict[str, list[Site]] = defaultdict(list)
    for site in found:
        by_function[site.qualname].append(site)
    known = [(qualname, span(node), node.name) for qualname, node in walk_functions(tree)]
    times = Counter(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    times.update(name for _, _, name in known)
    sited: Sited = {}
    for qualname, (first, last), name in known:
        own = [site for site in by_function.get(qualname, ()) if first <= site.line <= last]
        if own and times[name] == 1 and config.min_lines <= last - first + 1 <= config.max_lines:
            sited[name] = (first, last), own
    return sited


def _fault(document: Document, name: str, sited: Sited, config: RepairConfig, rng: random.Random) -> Fault:
    names, guilty = [name], [name]
    if rng.random() < config.suspects:
        others = [other for other in sited if other != name and not _overlap(sited[other][0], sited[name][0])]
        more = rng.sample(others, min(len(others), rng.randint(1, 3)))
        names += more
        guilty += [other for other in more if rng.random() < 0.5]
        rng.shuffle(names)
    chosen: list[Site] = []
    for one in guilty:
        chosen += choose(_untouched(sited[one][1], chosen), config, rng)
    wrong: tuple[str, ...] = ()
    if rng.random() < config.recover:
        own = [site for one in names for site in sited[one][1] if site not in chosen]
        tries = rng.sample(own, min(len(own), rng.randint(1, config.most_wrong)))
        wrong = tuple(_with(document.text, _instead(chosen, site)) for site in tries)
    path = f"src/{document.path}" if rng.random() < 0.4 else document.path
    spans = {one: sited[one][0] for one in names}
    return Fault(path, document.text, _with(document.text, chosen), spans, wrong)


def _instead(chosen: Sequence[Site], site: Site) -> list[Site]:
    """The faults after a wrong edit: one more on a line that was right, or another on a line that is still wrong."""
    return [*(one for one in chosen if one.line != site.line), site]


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _untouched(own: Sequence[Site], chosen: Sequence[Site]) -> list[Site]:
    taken = {site.line for site in chosen}
    return [site for site in own if site.line not in taken]


def _with(text: str, chosen: Sequence[Site]) -> str:
    for site in sorted(chosen, reverse=True):  # from the end, so that offsets stay true
        text = apply(text, site)
    return text


def choose(own: list[Site], config: RepairConfig, rng: random.Random) -> list[Site]:
    """Faults on distinct lines. The operator is drawn first, so that frequent ones do not crowd out the rest."""
    chosen: list[Site] = []
    while len(chosen) < config.max_faults:
        free = _untouched(own, chosen)
        if not free:
            break
        operator = rng.choice(sorted({site.operator for site in free}))
        chosen.append(rng.choice([site for site in free if site.operator == operator]))
        if rng.random() >= config.more_faults:
            break
    return chosen
