"""`vivace agent`: interactive on a terminal, or one request and its result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vivace.commands.choosing import (
    API,
    APPROVAL,
    BASE_URL,
    EFFORT,
    MODEL,
    PRICE,
    SANDBOX,
    UNATTENDED,
    as_api,
    as_effort,
    as_prices,
    as_settings,
)
from vivace.core.errors import BadInput

if TYPE_CHECKING:
    from vivace.harness.policy.config import Settings
    from vivace.harness.policy.gate import Answer, Request
    from vivace.recipe.agent import Choice

console = Console()


def agent(
    prompt: Annotated[str | None, typer.Argument(help="What to do, in words. Without it, on a terminal: a session.")]
    = None,
    repo: Annotated[Path, typer.Option(help="The checkout to work in.")] = Path("."),
    model: MODEL = None,
    base_url: BASE_URL = None,
    api: API = None,
    effort: EFFORT = None,
    once: Annotated[bool, typer.Option("--print", "-p", help="One request, from the argument or standard input, also "
                                       "on a terminal.")] = False,
    resume: Annotated[str | None, typer.Option(help="Go on with a session (its name, or the beginning of it).")] = None,
    last: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the last session here.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply the changes without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every event as a line of JSON; applies only with "
                                          "--yes.")] = False,
    sandbox: SANDBOX = None,
    approval: APPROVAL = None,
    unattended: UNATTENDED = False,
    max_seconds: Annotated[float | None, typer.Option(help="Time of one request.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Cost of one request, at --price.")] = None,
    price: PRICE = None,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0,
    weights: Annotated[str | None, typer.Option(help="Keep a checkpoint's weights as fp32, bf16 or int8.")] = None,
) -> None:
    """Let a model work in a copy of a checkout; the files change only where you agree."""
    from vivace.recipe.agent import Choice

    choice = Choice(model, base_url, as_api(api), as_effort(effort), temperature, max_seconds, max_cost,
                    as_prices(price), weights)  # fmt: skip
    held_by = as_settings(repo, sandbox, approval, unattended)
    if prompt is None and not once and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        from vivace.commands.interactive.app import interact

        interact(repo, choice, held_by, resume=resume, last=last, yes=yes)
        return
    if resume or last:
        raise BadInput("sessions are gone on with on a terminal, without a prompt; leave the prompt, -p and --json out")
    if prompt is None:
        prompt = "" if sys.stdin.isatty() else sys.stdin.read()
    if not prompt.strip():
        raise BadInput("nothing to do; say in words what you want, or start without arguments on a terminal")
    _once(prompt, repo, choice, held_by, yes, as_json)


def _once(prompt: str, repo: Path, choice: Choice, held_by: Settings, yes: bool, as_json: bool) -> None:
    from vivace.commands.interactive.text import plain
    from vivace.commands.live import live
    from vivace.recipe.agent import work

    hooks = live(as_json)

    def approve(diff: str) -> bool:
        if as_json:
            return yes
        from rich.syntax import Syntax

        if console.is_terminal:
            console.print(Syntax(diff, "diff", background_color="default", word_wrap=True))
        else:
            typer.echo(diff)
        try:
            return yes or typer.confirm("Apply these changes?", default=False, err=True)
        except typer.Abort:  # nobody there to answer
            typer.echo(err=True)
            return False

    def agree(path: str, why: str) -> bool:
        """Never by --yes: one of these files can run anything."""
        return asking and typer.confirm(f"{path}: {why}. Apply it, too?", default=False, err=True)

    def ask_user(request: Request) -> Answer:
        return "once" if asking and typer.confirm(f"{request.tool}: {plain(request.what)}\n{request.why}. Allow it?",
                                                  default=False, err=True) else "no"

    asking = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    if held_by.notice:
        typer.echo(held_by.notice, err=True)
    result = work(prompt, repo, choice, approve=approve, hooks=hooks, held_by=held_by, agree=agree, ask_user=ask_user)
    if as_json:
        hooks.done(result)
        raise typer.Exit(0 if result.applied else 1)
    if result.answer:
        console.print(result.answer, markup=False, highlight=False, soft_wrap=True)
    console.print(result.line(), markup=False, soft_wrap=True)
    if not result.applied:
        raise typer.Exit(1)
