"""A real sandbox on a tiny repository, and a small tokenizer: what every test of the harness needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from calc_repo import FILES, TASK, write_tree

from vivace.harness.environment import Environment, task_environment
from vivace.sandbox import Workspace, open_sandbox
from vivace.sandbox.warm import WarmTests
from vivace.text.chat import Renderer
from vivace.text.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    texts = [*FILES.values(), *(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))]
    return Renderer(train_tokenizer(texts * 3, 1200))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("calc"), FILES)


@pytest.fixture
def workspace(base: Path) -> Iterator[Workspace]:
    with Workspace(base, open_sandbox()) as opened:
        yield opened


@pytest.fixture(scope="session")
def warm(base: Path) -> Iterator[WarmTests]:
    with WarmTests(lambda: Workspace(base, open_sandbox()), Path(sys.executable), slots=1) as tests:
        yield tests


@pytest.fixture
def env(workspace: Workspace, warm: WarmTests) -> Environment:
    return task_environment(workspace, TASK, Path(sys.executable), warm=warm)


@pytest.fixture
def make_env(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Environment]]:
    """An environment on files given by the test."""
    opened: list[Workspace] = []

    def make(files: dict[str, str]) -> Environment:
        workspace = Workspace(write_tree(tmp_path / f"tree{len(opened)}", files), open_sandbox())
        opened.append(workspace)
        return task_environment(workspace, TASK, Path(sys.executable), named_tests=False)

    yield make
    for workspace in opened:
        workspace.close()
