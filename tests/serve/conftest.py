"""One server for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest
import torch
from tiny_server import running, tiny_target

from vivace.serve.gateway import Gateway
from vivace.serve.native import NativeTarget


@pytest.fixture(scope="session")
def target() -> NativeTarget:
    torch.set_num_threads(1)
    return tiny_target()


@pytest.fixture(scope="session")
def gate(target: NativeTarget) -> Gateway:
    return Gateway({"tiny": target})


@pytest.fixture(scope="session")
def url(gate: Gateway) -> Iterator[str]:
    with running(gate) as url:
        yield url


@pytest.fixture(scope="session")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
