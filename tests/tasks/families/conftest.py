"""One bench for the tests of all families; it runs with the interpreter that runs these tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wares

from vivace.sandbox import Sandbox
from vivace.tasks.cover import survey
from vivace.tasks.environments import open_home
from vivace.tasks.families import Bench
from vivace.tasks.local import local_source


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wares.checkout(tmp_path_factory.mktemp("wares"))


@pytest.fixture(scope="session")
def bench(checkout: Path, sandbox: Sandbox) -> Iterator[Bench]:
    source, facts = local_source(checkout)
    layer = open_home(source, facts, python=Path(sys.executable)).layer
    one = Bench(layer, survey(layer, sandbox), sandbox, seed=1)
    yield one
    one.close()
