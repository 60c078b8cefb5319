"""Our OpenAPI document against the server, by schemathesis: requests made from it, and broken ones, get documented
answers of the documented form, and never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
import torch
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tiny_decoder import tiny
from tiny_server import running, tiny_tokenizer

from vivace.engine import Engine
from vivace.serve import openapi
from vivace.serve.app import _routes
from vivace.serve.gateway import Gateway
from vivace.serve.native import NativeTarget
from vivace.text.chat import Renderer

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def small_url() -> Iterator[str]:
    """A model whose answers are short because little fits."""
    torch.set_num_threads(1)
    tokenizer = tiny_tokenizer()
    engine = Engine(tiny(vocab_size=tokenizer.vocab_size), max_slots=8, max_len=80, threads=1, speculate=True)
    with running(Gateway({"tiny": NativeTarget("tiny", engine, Renderer(tokenizer))})) as url:
        yield url


DOCUMENT = openapi.document("0", ["tiny"])
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_documented_requests_get_documented_answers(small_url: str, path: str, method: str) -> None:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method.upper()]
    broken = method == "post"  # there is nothing to break in a request without parameters
    for mode in (GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if broken else [])):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=8 if broken else 1, deadline=None, suppress_health_check=list(HealthCheck),
                  derandomize=True, database=None, phases=[Phase.generate])  # fmt: skip
        def run(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=small_url, checks=CHECKS, timeout=60)

        run()


def test_every_post_is_documented(small_url: str) -> None:
    paths = httpx.get(f"{small_url}/openapi.json").json()["paths"]
    assert {route.path for route in _routes() if "POST" in (route.methods or ())} == {
        path for path, methods in paths.items() if "post" in methods}  # fmt: skip
