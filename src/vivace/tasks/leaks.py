"""Does a statement give its solution away? Looked for again on finished rows, by rules that making them did not use.

`line`: a line of the fix; `word`: a name, and `literal`: a text or number, of the fix that stands nowhere in the tree
that the agent sees; `test`: the id of a test that is not in that tree; `answer`: the answer itself; `result`: a whole
line of what a chore should produce, with a number or an address; `machine`: a path of the machine it was made on.
"""

from __future__ import annotations

import keyword
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vivace.core.types import Task
from vivace.tasks.layers import Layer
from vivace.tasks.statements import names_machine
from vivace.tasks.workspaces import buggy_files

SHORTEST_LINE, SHORTEST_WORD = 8, 4
KEYWORDS = frozenset({*keyword.kwlist, "self"})
_WORD = re.compile(r"[A-Za-z_]\w*")
_LITERAL = re.compile(r"\"[^\"\n]{2,}\"|'[^'\n]{2,}'|(?<![\w.])\d{2,}(?![\w.])")


@dataclass(frozen=True)
class Leak:
    """A piece of the solution in a statement."""

    task_id: str
    rule: str
    piece: str


def leaks_of(task: Task, seen: str) -> list[Leak]:
    """What the statement of a task gives away; `seen` is all that the agent can read in the tree."""
    text = task.problem_statement
    found = [(rule, piece) for rule, piece in _pieces(task, seen) if piece in text]
    words = set(_WORD.findall(text))
    found = [(rule, piece) for rule, piece in found if rule != "word" or piece in words]
    if names_machine(text):
        found.append(("machine", ""))
    return [Leak(task.id, rule, piece) for rule, piece in dict.fromkeys(found)]


def _pieces(task: Task, seen: str) -> list[tuple[str, str]]:
    added = [line[1:].strip() for line in task.gold_patch.split("\n")
             if line.startswith("+") and not line.startswith("+++")]
    if task.family in ("question", "instruct"):
        answers = [str(one) for one in task.check.get("answer", ())]
        return [("answer", one) for one in answers if len(one) >= SHORTEST_WORD and not one.isidentifier()]
    if task.family == "terminal":
        return [("result", line) for line in added if len(line) >= SHORTEST_LINE and line not in seen
                and re.search(r"[\d@]", line)]  # heads and keys are asked for in words
    asked = {str(task.check[name]) for name in ("new", "test_file") if task.check.get(name)}
    found = [("line", line) for line in added if len(line) >= SHORTEST_LINE and line not in seen]
    fixed = "\n".join(added)
    found += [("word", word) for word in _WORD.findall(fixed) if len(word) >= SHORTEST_WORD and word not in KEYWORDS
              and word not in seen and not any(word in one for one in asked)]  # fmt: skip
    found += [("literal", one) for one in _LITERAL.findall(fixed) if one not in seen]
    found += [("test", one) for one in task.FAIL_TO_PASS
              if "::" in one and one.rsplit("::", 1)[-1].split("[")[0] not in seen]  # fmt: skip
    return found


def audit(tasks: Sequence[Task], layers: Mapping[str, Layer], limit: int, seed: int = 0,
          say: Callable[[str], None] = lambda line: None) -> tuple[list[Leak], Counter[str]]:
    """(leaks, number of tasks by family) of `limit` tasks drawn at random."""
    chosen = random.Random(seed).sample(list(tasks), min(limit, len(tasks)))
    trees: dict[str, dict[str, str]] = {}
    found: list[Leak] = []
    for task in chosen:
        if task.env not in trees:
            trees[task.env] = _texts(layers[task.env])
        tree = {**trees[task.env], **{path: text or "" for path, text in buggy_files(task, layers[task.env]).items()}}
        mine = leaks_of(task, "\n".join(tree.values()))
        for leak in mine:
            say(f"{leak.task_id}: {leak.rule} {leak.piece!r}")
        found += mine
    return found, Counter(task.family for task in chosen)


def _texts(layer: Layer) -> dict[str, str]:
    """Text files of the clean tree."""
    found = {}
    for path in sorted(layer.root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20 and path.suffix != ".pyc":
            found[str(path.relative_to(layer.root))] = path.read_bytes().decode(errors="replace")
    return found
