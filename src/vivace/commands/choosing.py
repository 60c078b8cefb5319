"""Options that say which model works and what it may use, shared by the commands that let one work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vivace.core.errors import BadInput

if TYPE_CHECKING:  # what is only named here would make `vivace --help` slow
    from vivace.core.types import Effort
    from vivace.harness.clients.openai import Api
    from vivace.harness.limits import Prices

MODEL = Annotated[str | None, typer.Option(help="A checkpoint folder, or with --base-url a model name.")]
BASE_URL = Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint, such as http://localhost:8000/v1.")]
API = Annotated[str | None, typer.Option(help="What the endpoint speaks: chat (default) or responses.")]
EFFORT = Annotated[str | None, typer.Option(help="Reasoning effort: low, medium or high.")]
PRICE = Annotated[str | None, typer.Option(help="IN/CACHED/OUT per million tokens, for the meter and --max-cost.")]


def as_api(text: str | None) -> Api | None:
    """BadInput for anything but an API."""
    if text is None:
        return None
    apis: tuple[Api, ...] = ("chat", "responses")
    for name in apis:
        if text == name:
            return name
    raise BadInput(f"--api {text}: choose one of {', '.join(apis)}")


def as_effort(text: str | None) -> Effort | None:
    """BadInput for anything but an effort."""
    efforts: tuple[Effort, ...] = ("low", "medium", "high")
    if text is None:
        return None
    for name in efforts:
        if text == name:
            return name
    raise BadInput(f"effort {text!r}: choose one of {', '.join(efforts)}")


def as_prices(text: str | None) -> Prices | None:
    """IN/CACHED/OUT, each a number."""
    return None if text is None else _prices(text, text, "IN/CACHED/OUT")


def as_labelled_prices(text: str) -> tuple[str, Prices]:
    """LABEL=IN/CACHED/OUT, where there are several models."""
    label, _, numbers = text.partition("=")
    return label, _prices(numbers, text, "LABEL=IN/CACHED/OUT")


def _prices(numbers: str, written: str, form: str) -> Prices:
    try:
        first, cached, output = (float(part) for part in numbers.split("/"))
    except ValueError:
        raise BadInput(f"--price {written}: write {form}, the prices of a million tokens") from None
    return first, cached, output
