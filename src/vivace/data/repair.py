"""Mid-training documents that show repairs: a function with one or more injected faults, then the edits that undo them.

Contextually native text: the file is read and edited in the syntax of the real tools, through the one renderer, so
that post-training starts from a model that has seen the form. Nothing is executed here; faults come from the same
operators as the repair tasks, on corpus packages only (the held-out packages are not in the corpus).
"""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from vivace.core.types import Message, ToolCall
from vivace.data.documents import Document
from vivace.data.episodes import whole_episode
from vivace.data.functions import span, walk_functions
from vivace.harness.edit.minimal import minimal_edits
from vivace.tasks.mutate import Site, apply, sites
from vivace.text.chat import Renderer

ASKS = (
    "`{name}` in {path} is broken. Fix it.",
    "Fix the bug in `{name}` ({path}).",
    "{path}: `{name}` gives wrong results.",
    "Tests of `{name}` fail, see {path}",
)


class RepairConfig(BaseModel):
    """Which functions become documents. Lengths in lines; `more_faults` is the chance of each further fault."""

    model_config = ConfigDict(extra="forbid")
    seed: int = 0
    min_lines: int = 3
    max_lines: int = 32
    more_faults: float = Field(0.55, ge=0, lt=1)
    max_faults: int = 4
    per_function: int = 1
    margin: int = 3
    whole: float = Field(0.0, ge=0, le=1)
    """Share of documents that are whole episodes, from the system message to `task_complete`."""
    context_weight: float = Field(0.3, ge=0, le=1)


def repair_documents(
    documents: Iterable[Document], renderer: Renderer, config: RepairConfig
) -> Iterator[tuple[list[int], list[float]]]:
    """(ids, loss weights) of one document per chosen function, in corpus order; deterministic by seed.

    Weights are 1 on what the assistant writes and `context_weight` on the rest.
    """
    for document in documents:
        rng = random.Random(f"{config.seed}:{document.package}:{document.path}")
        for messages in _module(document, config, rng):
            ids, mask = renderer.render(messages)
            if ids[0] != renderer.bos:  # a system message brings its own
                ids, mask = [renderer.bos, *ids], [0, *mask]
            yield ids, [1.0 if m else config.context_weight for m in mask]


def _module(document: Document, config: RepairConfig, rng: random.Random) -> Iterator[list[Message]]:
    try:
        found = sites(document.text)
    except (SyntaxError, RecursionError, ValueError):
        return
    by_function: dict[str, list[Site]] = defaultdict(list)
    for site in found:
        by_function[site.qualname].append(site)
    for qualname, node in walk_functions(ast.parse(document.text)):
        first, last = span(node)
        own = [s for s in by_function.get(qualname, ()) if first <= s.line <= last]
        if own and config.min_lines <= last - first + 1 <= config.max_lines:
            for _ in range(config.per_function):
                yield from _episode(document, qualname, (first, last), own, config, rng)


def _episode(
    document: Document, qualname: str, lines: tuple[int, int], own: list[Site], config: RepairConfig,
    rng: random.Random,
) -> Iterator[list[Message]]:
    faults = choose(own, config, rng)
    broken = document.text
    for site in sorted(faults, reverse=True):  # from the end, so that offsets stay true
        broken = apply(broken, site)
    edits = minimal_edits(broken, document.text)
    if not edits or any(not old or old.count("\n") > 6 for old, _ in edits):
        return
    rng.shuffle(edits) if _independent(broken, edits) and rng.random() < 0.3 else None
    path = f"src/{document.path}" if rng.random() < 0.4 else document.path
    if config.whole and rng.random() < config.whole:
        yield from whole_episode(broken, path, qualname.rsplit(".", 1)[-1], lines, edits, rng)
        return
    first, last = max(1, lines[0] - rng.randint(0, config.margin)), lines[1] + rng.randint(0, config.margin)
    text = broken.removesuffix("\n").split("\n")
    last = min(last, len(text))  # as read_file: no empty line after the last one
    shown = text[first - 1 : last]
    yield [
        Message(role="user", content=rng.choice(ASKS).format(name=qualname, path=path)),
        Message(role="assistant", tool_calls=[
            ToolCall(name="read_file", arguments={"filePath": path, "startLine": first, "endLine": last})]),
        Message(role="tool", content="\n".join(shown)),
        Message(role="assistant", tool_calls=[
            ToolCall(name="replace_string_in_file", arguments={"filePath": path, "oldString": old, "newString": new})
            for old, new in edits]),
    ]  # fmt: skip


def choose(own: list[Site], config: RepairConfig, rng: random.Random) -> list[Site]:
    """Faults on distinct lines. The operator is drawn first, so that frequent ones do not crowd out the rest."""
    chosen: list[Site] = []
    while len(chosen) < config.max_faults:
        taken = {site.line for site in chosen}
        free = [site for site in own if site.line not in taken]
        if not free:
            break
        operator = rng.choice(sorted({site.operator for site in free}))
        chosen.append(rng.choice([site for site in free if site.operator == operator]))
        if rng.random() >= config.more_faults:
            break
    return chosen


def _independent(text: str, edits: list[tuple[str, str]]) -> bool:
    """Whether the edits may be applied in any order: each old text is unique from the start."""
    return all(text.find(old, text.find(old) + 1) < 0 <= text.find(old) for old, _ in edits)
