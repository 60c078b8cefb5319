"""The survey of a layer: which tests are reliably green, how long each takes, and which lines each executes.

Made once a layer in the sandbox, by two runs of the whole suite: one as it is, one under coverage.py with a context
per test id and another hash seed. A test must pass in both; the others are dropped for good.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, cache_dir
from vivace.core.progress import Progress
from vivace.sandbox import ExecLimits, Sandbox
from vivace.tasks.layers import Layer

RESULT = ".survey.json"
SUITE_SECONDS = 600.0


@dataclass(frozen=True)
class Survey:
    """What is known about a layer's tests. Lines are 1-based; times are seconds of wall time under coverage."""

    green: frozenset[str]
    seconds: dict[str, float]
    covered: dict[str, dict[int, tuple[str, ...]]]
    """{path: {line: green tests that execute it}}"""

    def lines(self, path: str) -> set[int]:
        """Lines of a file that some green test executes."""
        return {line for line, tests in self.covered.get(path, {}).items() if tests}

    def tests(self, path: str, line: int) -> list[str]:
        """Green tests that execute a line, fastest first."""
        return sorted(self.covered.get(path, {}).get(line, ()), key=lambda test: (self.seconds[test], test))


def survey(layer: Layer, sandbox: Sandbox) -> Survey:
    """The survey of a layer, from the cache if it was made before.

    Raises:
        BadInput: no test of the suite passes twice.
    """
    path = _place(layer)
    if not path.exists():
        with Progress(f"survey {layer.name}", 2) as bar:
            plain = _run_suite(layer, sandbox, cover=False)
            bar.advance(1, f"{len(plain['tests'])} tests")
            traced = _run_suite(layer, sandbox, cover=True)
            bar.advance(1, "coverage")
        text = json.dumps({"plain": plain["tests"], **traced}, separators=(",", ":"))
        atomic_write_bytes(path, gzip.compress(text.encode(), 6, mtime=0))
    found = known_survey(layer)
    if found is None or not found.green:
        raise BadInput(f"{layer.name}: no test passes in the sandbox; correct its entry in the manifest")
    return found


def known_survey(layer: Layer) -> Survey | None:
    """The survey of a layer if it was made before."""
    path = _place(layer)
    return _read(json.loads(gzip.decompress(path.read_bytes()))) if path.exists() else None


def _place(layer: Layer) -> Path:
    return cache_dir("surveys") / f"{layer.home.name}.json.gz"


def _run_suite(layer: Layer, sandbox: Sandbox, cover: bool) -> dict[str, Any]:
    source = layer.source
    request = {
        "runner": source.runner, "args": [*source.args, *deselection(source.deselect)], "targets": source.test_dirs,
        "start": source.test_dirs[0], "sources": source.source_dirs, "cover": cover, "result": RESULT,
        "roots": [folder if (layer.root / folder).is_dir() else "." for folder in source.source_dirs],
    }  # fmt: skip
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
           "COVERAGE_CORE": "ctrace", "PYTHONHASHSEED": "1" if cover else "0"}
    with layer.workspace(sandbox) as workspace:
        result = workspace.exec([str(layer.python), "-B", "-c", _driver()], stdin=json.dumps(request), env=env,
                                limits=ExecLimits(wall_s=SUITE_SECONDS, memory_mb=4096))
        if not workspace.exists(RESULT):
            last = result.output.strip().rsplit("\n", 1)[-1][:160]
            why = f"{result.killed} limit" if result.killed else f"exit {result.exit_code}: {last}"
            raise BadInput(f"{layer.name}: its suite does not run in the sandbox ({why}); correct the manifest")
        return dict(json.loads(workspace.read_bytes(RESULT)))


def deselection(prefixes: Sequence[str]) -> list[str]:
    """pytest arguments that leave tests out."""
    return [part for prefix in prefixes for part in ("--deselect", prefix)]


@cache
def _driver() -> str:
    return Path(__file__).with_name("surveydriver.py").read_text()


def _read(data: dict[str, Any]) -> Survey:
    twice = {name for name, outcome, _ in data["plain"] if outcome == "passed"}
    names = [name for name, _, _ in data["tests"]]
    green = frozenset(name for name, outcome, _ in data["tests"] if outcome == "passed" and name in twice)
    covered = {
        path: {int(line): tuple(names[n] for n in tests if names[n] in green) for line, tests in lines.items()}
        for path, lines in data["lines"].items()
    }
    return Survey(green, {name: seconds for name, _, seconds in data["tests"]}, covered)
