"""Which mutations to try: covered sites in functions of a workable size, balanced over operators and functions."""

from __future__ import annotations

import random
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import CodeType

from vivace.core.files import digest
from vivace.tasks.cover import Survey
from vivace.tasks.layers import Layer
from vivace.tasks.mutate import Function, Site, apply, functions, sites
from vivace.tasks.statements import Suspect

SHORTEST, LONGEST = 4, 40  # lines of a function
WIDEST = 110  # characters of a line
NAMESAKES = 6  # definitions of one name in the whole tree, so that a search for it stays readable
MOST_TESTS, MOST_GUARDS = 9, 3
SLOWEST_TEST, SLOWEST_SUM = 1.0, 3.0  # seconds under coverage
PER_FUNCTION = 4

# The line no longer says what stood there: such bugs are kept, but they are not the bulk.
HARD_TO_INVERT = {"return_none": 0.4, "raise_remove": 0.4, "kwarg_drop": 0.4, "string_tweak": 0.6, "method_drop": 0.6}


@dataclass(frozen=True)
class Candidate:
    """A planted bug that has not been run yet. `tests` cover its line (and a few others guard its surroundings)."""

    path: str
    function: Function
    site: Site
    clean: str
    tests: tuple[str, ...]

    @property
    def buggy(self) -> str:
        return apply(self.clean, self.site)

    @property
    def key(self) -> str:
        """The same in every sitting."""
        return digest([self.path, self.site.start, self.site.end, self.site.operator, self.site.replacement])

    @property
    def lines(self) -> list[str]:
        """The clean lines that the edit touches."""
        last = self.clean.count("\n", 0, self.site.end)
        return self.clean.split("\n")[self.site.line - 1 : last + 1]

    @property
    def place(self) -> Suspect:
        return Suspect(self.function.name, self.path)


class Grounds:
    """Everything in a layer that may be mutated, and how it is tested. `wide`: by all operators (`mutate.sites`);
    `only`: by these, whether wide or not."""

    def __init__(self, layer: Layer, survey: Survey, *, wide: bool = False, only: Container[str] | None = None) -> None:
        self.layer, self.survey, self.wide, self.only = layer, survey, wide or only is not None, only
        texts = {path: _decoded((layer.root / path).read_bytes()) for path in sorted(survey.covered)}
        self.texts = {path: text for path, text in texts.items() if text is not None}

    @cached_property
    def functions(self) -> dict[str, list[Function]]:
        """{path: functions of a workable size, covered by tests, that a search for their name finds}"""
        texts = self.texts.items()
        return {path: [f for f in functions(text) if self._workable(path, text, f)] for path, text in texts}

    def candidates(self, seed: int, per_function: int = PER_FUNCTION) -> Iterator[Candidate]:
        """Endless variety is not promised: ends when every function has had its share."""
        rng = random.Random(f"{seed}:{self.layer.env}")
        by_operator: dict[str, list[tuple[str, Function, Site]]] = defaultdict(list)
        for path in self.functions:
            for function, site in self._sites(path):
                by_operator[site.operator].append((path, function, site))
        for items in by_operator.values():
            rng.shuffle(items)
        used: Counter[str] = Counter()
        turns: Counter[tuple[str, str]] = Counter()
        while by_operator:
            name = min(by_operator, key=lambda op: (used[op] / HARD_TO_INVERT.get(op, 1.0), rng.random()))
            items = by_operator[name]
            path, function, site = items.pop(_least_used(items, turns))
            if not items:
                del by_operator[name]
            used[name] += 1
            key = (path, function.qualname)
            tests = pick_tests(self.survey, path, function, site.line)
            if tests and turns[key] < per_function and not same_code(self.texts[path], function, site):
                turns[key] += 1
                yield Candidate(path, function, site, self.texts[path], tests)

    def distractors(self, guilty: Sequence[Candidate], rng: random.Random) -> list[Suspect]:
        """One or two innocent functions of the files in which the bugs are."""
        places = {candidate.place for candidate in guilty}
        near = [Suspect(f.name, path) for path in sorted({c.path for c in guilty}) for f in self.functions[path]]
        innocent = sorted({s for s in near if s not in places}, key=lambda s: (s.path, s.name))
        return rng.sample(innocent, min(len(innocent), rng.choice((1, 1, 2))))

    def _workable(self, path: str, text: str, function: Function) -> bool:
        if not SHORTEST <= function.length <= LONGEST or self.layer.is_test(path):
            return False
        head = f"def {function.name}(".lower()
        if text.lower().count(head) != 1 or self._namesakes[function.name.lower()] > NAMESAKES:
            return False
        lines = text.split("\n")[function.line - 1 : function.end_line]
        covered = self.survey.lines(path)
        return max(map(len, lines)) <= WIDEST and any(n in covered for n in range(function.line, function.end_line + 1))

    @cached_property
    def _namesakes(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for file in self.layer.root.rglob("*"):
            if file.suffix in (".py", ".pyi", ".md", ".rst", ".txt") and file.is_file():
                found.update(re.findall(r"def (\w+)\(", file.read_bytes().decode(errors="replace").lower()))
        return found

    def _sites(self, path: str) -> Iterator[tuple[Function, Site]]:
        known = {function.qualname: function for function in self.functions[path]}
        for site in sites(self.texts[path], lines=self.survey.lines(path), wide=self.wide):
            function = known.get(site.qualname)
            chosen = self.only is None or site.operator in self.only
            if function and chosen and function.line <= site.line <= function.end_line:
                yield function, site


def _decoded(data: bytes) -> str | None:
    """Text, or None: only UTF-8 can be patched."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _least_used(items: list[tuple[str, Function, Site]], turns: Counter[tuple[str, str]]) -> int:
    """Among the last few of a shuffled list, the one whose function had the fewest turns."""
    window = range(max(0, len(items) - 8), len(items))
    return min(window, key=lambda i: (turns[items[i][0], items[i][1].qualname], -i))


def same_code(text: str, function: Function, site: Site) -> bool:
    """Whether the edit compiles to what was there before: then no test can notice it."""
    before, after = (_compiled(whole, function) for whole in (text, apply(text, site)))
    return before is not None and before == after


def _compiled(text: str, function: Function) -> object:
    """What the function alone compiles to, positions left out; None when it does not stand alone."""
    lines = "\n".join(text.split("\n")[function.line - 1 : function.end_line])
    try:
        return _behaviour(compile(textwrap.dedent(lines), "", "exec", dont_inherit=True))
    except SyntaxError:
        return None


def _behaviour(code: CodeType) -> tuple[object, ...]:
    constants = tuple(_behaviour(c) if isinstance(c, CodeType) else (type(c), repr(c)) for c in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, constants


def pick_tests(survey: Survey, path: str, function: Function, line: int) -> tuple[str, ...]:
    """A few fast tests of one test file: most of them execute the line, some only its surroundings; () if too slow."""
    covering = [test for test in survey.tests(path, line) if survey.seconds[test] <= SLOWEST_TEST]
    if not covering:
        return ()
    home = Counter(map(test_file, covering[:40])).most_common(1)[0][0]
    chosen = _spread([test for test in covering if test_file(test) == home], MOST_TESTS)
    around = {test for n in range(function.line, function.end_line + 1) for test in survey.covered[path].get(n, ())}
    near = sorted(around - set(covering), key=lambda test: (survey.seconds[test], test))
    others = sorted(survey.green - around, key=lambda test: (survey.seconds[test], test))
    guards = [test for test in (*near, *others) if test_file(test) == home]
    picked, total = [], 0.0
    for test in [*chosen, *guards[:MOST_GUARDS]]:
        total += survey.seconds[test]
        if total <= SLOWEST_SUM:
            picked.append(test)
    return tuple(picked)


def test_file(test_id: str) -> str:
    """Where a test stands: the file of a pytest id, the module of a unittest id."""
    return test_id.split("::")[0] if "::" in test_id else test_id.rsplit(".", 2)[0]


def _spread(tests: list[str], most: int) -> list[str]:
    """One per test function first, then further parameters of the same ones."""
    seen: Counter[str] = Counter()
    ranked = []
    for position, test in enumerate(tests):
        name = test.split("[")[0]
        ranked.append((seen[name], position, test))
        seen[name] += 1
    return [test for _, _, test in sorted(ranked)[:most]]
