"""`vivace ask`: a question about a checkout, answered by a model that can only look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vivace.commands.choosing import API, BASE_URL, EFFORT, MODEL, as_api, as_effort


def ask(
    question: Annotated[str, typer.Argument(help='In words: "where are timeouts handled?"')],
    repo: Annotated[Path, typer.Option(help="The checkout to look at.")] = Path("."),
    model: MODEL = None,
    base_url: BASE_URL = None,
    api: API = None,
    effort: EFFORT = None,
    plan: Annotated[bool, typer.Option("--plan", help="The question is a change: answer with a plan of it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every event as a line of JSON.")] = False,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0,
) -> None:
    """Ask a question about a checkout; the model can read and search, and change nothing."""
    from vivace.commands.live import live
    from vivace.recipe.agent import Choice, work

    hooks = live(as_json)
    choice = Choice(model, base_url, as_api(api), as_effort(effort), temperature)
    result = work(question, repo, choice, approve=lambda diff: False, mode="plan" if plan else "ask", hooks=hooks)
    if as_json:
        hooks.done(result)
    else:
        typer.echo(result.answer or "(no answer)")
        typer.echo(result.line(), err=True)
    if result.trajectory.stop_reason != "complete":
        raise typer.Exit(1)
