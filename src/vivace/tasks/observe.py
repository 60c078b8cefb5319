"""What the functions of a layer are called with in its suite, and what they return: facts found by execution.

Only calls whose arguments and results are literals are kept, since only these can be written into a statement, a test
or a question. All of it runs in the sandbox.
"""

from __future__ import annotations

import ast
import gzip
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, cache_dir
from vivace.core.syntax import python_expression, python_tree
from vivace.sandbox import ExecLimits, Sandbox
from vivace.tasks.cover import SUITE_SECONDS, Survey, deselection
from vivace.tasks.layers import Layer

RESULT = ".observed.json"
SECONDS = 20.0
MOST_VARIANTS = 60


@dataclass(frozen=True)
class Outcome:
    """What a call came to: a value as a literal, an exception's type and message, or neither ("other", "hangs",
    "missing")."""

    kind: str
    text: str = ""
    message: str = ""

    def __str__(self) -> str:
        return self.text if self.kind != "raises" or not self.message else f"{self.text}: {self.message}"

    @property
    def told(self) -> bool:
        """Whether it can be written down."""
        return self.kind in ("value", "raises")


class Observer:
    """Calls of one layer's functions. Thread-safe; what the suite shows is found once and kept in the cache."""

    def __init__(self, layer: Layer, survey: Survey, sandbox: Sandbox) -> None:
        self.layer, self.survey, self.sandbox = layer, survey, sandbox
        self._lock = threading.Lock()
        self._calls: dict[str, dict[str, list[str]]] | None = None

    def calls(self, path: str, function: str) -> list[str]:
        """Argument lists, as source text, that the suite calls a function with that stands at the top of a file."""
        with self._lock:
            if self._calls is None:
                self._calls = self._recorded()
        return self._calls.get(path, {}).get(function, [])

    def module(self, path: str) -> str | None:
        """The name under which a file is imported."""
        for top in self.layer.source.python_path:
            inside = path if top == "." else path.removeprefix(f"{top}/")
            if (top == "." or inside != path) and path.endswith(".py"):
                name = inside.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                return name if all(part.isidentifier() for part in name.split(".")) else None
        return None

    def evaluate(self, changed: Mapping[str, str], items: Sequence[tuple[str, str, Sequence[str]]],
                 seed: int = 0) -> list[list[Outcome]]:
        """What calls come to on the clean tree with these files changed, in a cold interpreter with this hash seed.

        Args:
            items: (path, function, argument texts).
        Returns:
            One list an item; all "missing" when the run came to nothing.
        """
        wanted = [[self.module(path), function, list(calls)] for path, function, calls in items]
        found = self._run({"mode": "evaluate", "items": wanted}, changed, seed, SECONDS)
        if found is None:
            return [[Outcome("missing")] * len(calls) for _, _, calls in items]
        return [[Outcome(*one) for one in row] for row in found]

    def difference(self, path: str, function: str, calls: Sequence[str], clean: Sequence[Outcome],
                   broken: Sequence[Outcome]) -> tuple[str, str, str] | None:
        """The shortest call whose outcomes differ: (call, what it gives now, what it should give)."""
        found = [(arguments, b, a) for arguments, a, b in zip(calls, clean, broken) if a != b and a.told and b.told]
        if not found:
            return None
        arguments, now, want = min(found, key=lambda one: len(one[0]) + len(one[1].text) + len(one[2].text))
        text = (self.layer.root / path).read_text()
        return f"{function}({shortened(text, function, arguments)})", str(now), str(want)

    def _recorded(self) -> dict[str, dict[str, list[str]]]:
        path = cache_dir("calls") / f"{self.layer.home.name}.json.gz"
        if not path.exists():
            found: Any = {}
            if self.layer.source.runner == "pytest":
                source = self.layer.source
                files = {one: self.module(one) for one in sorted(self.survey.covered) if not self.layer.is_test(one)}
                request = {"mode": "record", "files": {one: name for one, name in files.items() if name},
                           "targets": source.test_dirs, "args": [*source.args, *deselection(source.deselect)]}
                found = self._run(request, {}, 0, SUITE_SECONDS) or {}
            atomic_write_bytes(path, gzip.compress(json.dumps(found).encode(), 6, mtime=0))
        return dict(json.loads(gzip.decompress(path.read_bytes())))

    def _run(self, request: dict[str, Any], changed: Mapping[str, str], seed: int, seconds: float) -> Any:
        overlay = {path: text.encode() for path, text in changed.items()}
        env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": str(seed),
               "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis"}  # fmt: skip
        with self.layer.workspace(self.sandbox, overlay) as workspace:
            workspace.exec([str(self.layer.python), "-B", "-c", _driver()], env=env,
                           stdin=json.dumps({**request, "result": RESULT}), limits=ExecLimits(wall_s=seconds))
            try:
                return json.loads(workspace.read_bytes(RESULT))
            except (BadInput, ValueError):
                return None


@cache
def _driver() -> str:
    return Path(__file__).with_name("observedriver.py").read_text()


def shortened(text: str, function: str, arguments: str) -> str:
    """Argument text without trailing arguments that equal the defaults in the source `text`."""
    node = next((n for n in python_tree(text).body if isinstance(n, ast.FunctionDef) and n.name == function), None)
    call = python_expression(f"f({arguments})").body
    if node is None or not isinstance(call, ast.Call):
        return arguments
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults = dict(zip((one.arg for one in positional[::-1]), node.args.defaults[::-1]))
    defaults |= {one.arg: value for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults) if value is not None}
    keywords = [one for one in call.keywords if not _same(one.value, defaults.get(one.arg or ""))]
    args = list(call.args)
    while args and not keywords and _same(args[-1], defaults.get(positional[len(args) - 1].arg)):
        args.pop()
    return ", ".join([*map(ast.unparse, args), *(f"{one.arg}={ast.unparse(one.value)}" for one in keywords)])


def _same(value: ast.expr, default: ast.expr | None) -> bool:
    try:
        return default is not None and repr(ast.literal_eval(value)) == repr(ast.literal_eval(default))
    except ValueError:
        return False


def variants(calls: Sequence[str], most: int = MOST_VARIANTS) -> list[str]:
    """Calls near the recorded ones, one argument changed at a time: bounds, empty things, flags turned round."""
    found: dict[str, None] = {}
    for arguments in calls:
        call = python_expression(f"f({arguments})").body
        if not isinstance(call, ast.Call):
            continue
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        texts = [ast.unparse(one) for one in values]
        for number, value in enumerate(values):
            for other in _near(ast.literal_eval(value)):
                parts = [*texts[:number], repr(other), *texts[number + 1 :]]
                names = [""] * len(call.args) + [f"{keyword.arg}=" for keyword in call.keywords]
                found.setdefault(", ".join(name + part for name, part in zip(names, parts)))
    return [one for one in found if one not in set(calls)][:most]


def _near(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, 0, -value]
    if isinstance(value, float):
        return [value + 1, -value, 0.0]
    if isinstance(value, str):
        return [value[:-1], value + value[:1], value.swapcase(), f" {value} ", ""]
    if isinstance(value, list | tuple):
        near = [list(value[:-1]), list(value[1:]), [*value, *value], list(value[::-1])]
        return [tuple(one) if isinstance(value, tuple) else one for one in near]
    if isinstance(value, dict):
        return [{}, dict(list(value.items())[:-1])]
    return [0, ""] if value is None else []
