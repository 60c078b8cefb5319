"""One layer of the toy package for all tests. Its suite runs with the interpreter that runs these tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_package as toy

from vivace.core.types import Task
from vivace.sandbox import Sandbox, make_patch, open_sandbox
from vivace.tasks.cover import Survey, survey
from vivace.tasks.layers import Layer, build_layer


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIVACE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    return open_sandbox()


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    folder = tmp_path_factory.mktemp("layer")
    sdist = toy.pack(folder)
    source = toy.source(sdist)
    build_layer(source, sdist, folder / "toy-layer")
    return Layer(source, folder / "toy-layer", Path(sys.executable))


@pytest.fixture(scope="session")
def surveyed(layer: Layer, sandbox: Sandbox) -> Survey:
    return survey(layer, sandbox)


@pytest.fixture(scope="session")
def task(layer: Layer) -> Task:
    """`clamp` has its upper bound turned round."""
    path = "src/toy/stats.py"
    clean = (layer.root / path).read_text()
    buggy = clean.replace("value > high", "value < high")
    tests = "tests/test_stats.py"
    return Task(
        id="toy-1", env=layer.env, repo="toy-stats", split="train", licence="MIT",
        problem_statement=f"`clamp` in {path} is wrong: {tests}::test_clamp fails with assert 11 == 10",
        bug_patch=make_patch({path: clean}, {path: buggy}), gold_patch=make_patch({path: buggy}, {path: clean}),
        FAIL_TO_PASS=[f"{tests}::test_clamp", f"{tests}::test_clamp_inside"],
        PASS_TO_PASS=[f"{tests}::test_clamp_low", f"{tests}::test_mean[values0-3]"],
    )  # fmt: skip
