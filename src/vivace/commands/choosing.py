"""Options that say which model works and what it may use, shared by the commands that let one work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vivace.core.errors import BadInput

if TYPE_CHECKING:  # what is only named here would make `vivace --help` slow
    from vivace.core.types import Effort
    from vivace.harness.clients.openai import Api
    from vivace.harness.limits import Prices
    from vivace.harness.policy.config import Settings

MODEL = Annotated[str | None, typer.Option(help="A checkpoint folder, or with --base-url a model name.")]
BASE_URL = Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint, such as http://localhost:8000/v1.")]
API = Annotated[str | None, typer.Option(help="What the endpoint speaks: chat (default) or responses.")]
EFFORT = Annotated[str | None, typer.Option(help="Reasoning effort: low, medium or high.")]
SANDBOX = Annotated[str | None, typer.Option(help="read-only, workspace-write (default), or full: commands run as "
                                             "you, without a sandbox.")]
APPROVAL = Annotated[str | None, typer.Option(help="When you are asked: untrusted (about every command that does "
                                              "more than look), on-request (default), never.")]
UNATTENDED = Annotated[bool, typer.Option("--unattended", help="--sandbox full with --approval never is meant.")]
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


def as_settings(repo: Path, sandbox: str | None, approval: str | None, unattended: bool = False) -> Settings:
    """What is in force for a checkout: these options, the user's settings, and the repository's where it is trusted."""
    from vivace.harness.policy.config import settings
    from vivace.harness.policy.policy import as_approval, as_sandbox

    return settings(repo, None if sandbox is None else as_sandbox(sandbox),
                    None if approval is None else as_approval(approval), unattended)


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
