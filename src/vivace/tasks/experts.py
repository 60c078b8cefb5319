"""Scripted experts: they know the answer and show, in the real harness, how to get to it.

An expert is a script that writes one assistant turn at a time and reads the tools' real results, so its
demonstrations are ordinary trajectories. It mends what the harness attached to the request first; functions
that the statement names but that were not attached it looks up first, one after the other.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Generator, Sequence
from typing import Literal

from vivace.core.errors import BadInput
from vivace.core.types import Message, Task
from vivace.harness.clients.scripted import AnswerCodec, ScriptedClient
from vivace.harness.edit.minimal import minimal_edits
from vivace.tasks.layers import Layer
from vivace.tasks.mutate import Function, apply, functions, sites
from vivace.tasks.reading import read_back
from vivace.tasks.script import Script, call, scripted, turn
from vivace.tasks.statements import Suspect, suspects
from vivace.tasks.workspaces import buggy_files, layer_files

Style = Literal["direct", "read", "recover"]

_TESTED = re.compile(r"^(\d+) passed, (\d+) failed")
_HIT = re.compile(r"^(?P<path>[^:\n]+):(?P<line>\d+):")


def expert_client(task: Task, layer: Layer, codec: AnswerCodec, style: Style, seed: int) -> ScriptedClient:
    """An expert for one task. `direct` edits right away; `read` reads back the lines that lead up to each edit;
    `recover` reads too, and first makes one to three wrong tries and takes each back when the tests say so. Seeded,
    and mostly canonical: a small model has to learn the form from few examples.

    Raises:
        BadInput: neither the statement nor the row names a function that is in its file.
    """
    rng = random.Random(f"{task.id}/{style}/{seed}")
    expert = _Expert(task, layer, style, rng)
    return scripted(codec, lambda messages: expert.play("\n".join(m.content for m in messages)), f"expert-{style}")


def expert_script(task: Task, layer: Layer, style: Style, rng: random.Random, opening: str) -> Script:
    """As `expert_client`, turn by turn."""
    return _Expert(task, layer, style, rng).play(opening)


class _Expert:
    def __init__(self, task: Task, layer: Layer, style: Style, rng: random.Random) -> None:
        self.style, self.rng, self.statement = style, rng, task.problem_statement
        places = suspects(task.problem_statement) or known_places(task)
        self.clean = layer_files(layer, sorted({place.path for place in places}))
        broken = buggy_files(task, layer)
        self.now = {path: broken.get(path) or text for path, text in self.clean.items()}
        self.places = [(place, self._function(place)) for place in places if place.path in self.clean]
        if not self.places:
            raise BadInput(f"task {task.id} names no function of its package; an expert cannot know where to look")

    def _function(self, place: Suspect) -> Function:
        """The function meant: where several bear the name, the one that is broken."""
        before, after = self.now[place.path], self.clean[place.path]
        found = [f for f in functions(before) if f.name == place.name]
        if not found:
            raise BadInput(f"{place} is not there")
        changed = changed_lines(before, after)
        return next((f for f in found if any(f.line <= line <= f.end_line for line in changed)), found[0])

    def play(self, opening: str) -> Script:
        """The attempt. `opening` is what the harness shows at first."""
        shown = [(place, function) for place, function in self.places if f"def {place.name}(" in opening]
        done = bool(shown) and (yield from self._mend(shown))
        for place, function in self.places:
            if done or (place, function) in shown:
                continue
            within = {"includePattern": place.path} if place.path in self.statement else {}
            hits = yield turn(call("grep_search", query=f"def {place.name}(", **within))
            yield turn(call("read_file", filePath=place.path, startLine=_line(hits[0], function.line)))
            done = yield from self._mend([(place, function)])
        yield turn(call("task_complete"))

    def _mend(self, places: Sequence[tuple[Suspect, Function]]) -> Generator[Message, list[str], bool]:
        """Put these functions right, if any of them is broken; whether all is green then."""
        fixed: dict[str, str] = {}
        for place, function in places:
            fixed[place.path] = self._fixed(fixed.get(place.path, self.now[place.path]), place.path, function)
        fixed = {path: text for path, text in fixed.items() if text != self.now[path]}
        if not fixed:
            return False
        if self.style == "recover" and (yield from self._wrong_turns(places, fixed)):
            return True
        return (yield from self._try(fixed))

    def _fixed(self, text: str, path: str, function: Function) -> str:
        """`text` with this function as it was before the bug; other bugs in the file stay for their own turn."""
        now, clean = text.split("\n"), self.clean[path].split("\n")
        if len(now) != len(clean):  # bugs that add or remove lines: all at once
            return self.clean[path]
        return "\n".join([*now[: function.line - 1], *clean[function.line - 1 : function.end_line],
                          *now[function.end_line :]])

    def _wrong_turns(
        self, places: Sequence[tuple[Suspect, Function]], fixed: dict[str, str]
    ) -> Generator[Message, list[str], bool]:
        """One to three edits of the functions that do not help. True if one of them happens to satisfy the tests."""
        broken = dict(self.now)
        wrong = []
        for place, function in places:
            lines = set(range(function.line, function.end_line + 1))
            edited = (apply(broken[place.path], site) for site in sites(broken[place.path], lines=lines))
            wrong += [(place.path, text) for text in edited if text != fixed.get(place.path)]
        wrong = list(dict.fromkeys(wrong))
        for path, text in self.rng.sample(wrong, min(len(wrong), self.rng.randint(1, 3))):
            if (yield from self._try({**broken, path: text})):
                return True
        return False

    def _read_back(self, path: str, old: str) -> str:
        """The lines that lead up to `old` within its function."""
        line = self.now[path].count("\n", 0, self.now[path].index(old)) + 1
        own = (f.line for place, f in self.places if place.path == path and f.line <= line <= f.end_line)
        return read_back(self.now[path], old, max(own, default=1), self.rng)

    def _try(self, texts: dict[str, str]) -> Generator[Message, list[str], bool]:
        """Edit the files into `texts` (whatever stands in them now); whether all is green at last. `direct` has every
        edit tested, so that what each one brought can be seen (and kept, where those without effect are taken back)."""
        edits = [(path, edit) for path, text in texts.items() for edit in minimal_edits(self.now[path], text)]
        calls = [call("replace_string_in_file", filePath=path, oldString=old, newString=new)
                 for path, (old, new) in edits]
        results = [] if edits else (yield turn(call("runTests")))
        for number, ((path, edit), change) in enumerate(zip(edits, calls, strict=True), 1):
            tests = [call("runTests")] if self.style == "direct" or number == len(edits) else []
            thought = "" if self.style == "direct" else self._read_back(path, edit[0])
            results = yield turn(change, *tests, thought=thought)
            self.now[path] = self.now[path].replace(*edit, 1)
        self.now.update(texts)
        tested = _TESTED.match(results[-1])
        return tested is not None and int(tested[2]) == 0 < int(tested[1]) and "stopped" not in results[-1]


def known_places(task: Task) -> list[Suspect]:
    """The functions that are broken, for statements that name them without their files, or not at all."""
    functions_, files = task.provenance.get("functions", []), task.provenance.get("files", [])
    return list(dict.fromkeys(Suspect(name.rsplit(".", 1)[-1], path) for name, path in zip(functions_, files)))


def _line(hits: str, expected: int) -> int:
    """The function's line among the search results: the nearest to where it is known to stand."""
    lines = [int(found["line"]) for found in map(_HIT.match, hits.split("\n")) if found]
    return min(lines, key=lambda line: abs(line - expected), default=expected)


def changed_lines(before: str, after: str) -> set[int]:
    """1-based lines of `before` that differ from `after`."""
    old, new = before.split("\n"), after.split("\n")
    if len(old) == len(new):
        return {number for number, (a, b) in enumerate(zip(old, new), 1) if a != b}
    opcodes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return {line + 1 for tag, a, b, _, _ in opcodes if tag != "equal" for line in range(a, max(b, a + 1))}
