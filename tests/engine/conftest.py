"""Fixtures of the engine's tests; one torch thread, so that tests beside each other do not wait for each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tiny_decoder import tiny

from vivace.engine import Engine
from vivace.model import Decoder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> Decoder:
    return tiny()


@pytest.fixture
def engine(model: Decoder) -> Iterator[Engine]:
    with Engine(model, max_slots=6, threads=1) as engine:
        yield engine
