"""The command line. Thin: parse, call, print. Every expected failure is one line and a non-zero exit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from vivace.commands import evaluate
from vivace.commands import model as model_commands
from vivace.commands.ask import ask
from vivace.commands.card import card
from vivace.commands.serve import serve
from vivace.core.errors import InfraError, VivaceError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Build, measure and ship a flash coding model.")
app.add_typer(model_commands.app, name="model")
app.command()(serve)
app.command("eval")(evaluate.evaluate)
app.command("compare")(evaluate.compare)
app.command()(card)
console = Console()
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(context_settings=PASS_ON)
def run(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="A TOML file such as recipes/demo.toml.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<name>.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and stop.")] = False,
) -> None:
    """Run a recipe, or go on with an interrupted one. Override with --stage.key value."""
    from vivace.recipe.config import load_recipe
    from vivace.recipe.runner import run_recipe
    from vivace.recipe.stages.table import KINDS

    loaded = load_recipe(recipe, context.args, {name: kind.config for name, kind in KINDS.items()})
    if dry_run:
        from vivace.commands.plan import print_plans

        typer.echo(json.dumps(loaded.resolved(), indent=1))
        print_plans(loaded, console)
        return
    folder = out or Path("runs") / loaded.name
    try:
        run_recipe(loaded, folder, KINDS, console)
    except KeyboardInterrupt:
        console.print(f"\ninterrupted; the same command goes on from here (the run is in {folder})")
        raise typer.Exit(130) from None


@app.command()
def agent(
    prompt: Annotated[str, typer.Argument(help="What to do, in words.")],
    repo: Annotated[Path, typer.Option(help="The checkout to work in.")] = Path("."),
    model: Annotated[str | None, typer.Option(help="A checkpoint folder, or with --base-url a model name.")] = None,
    base_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint, such as "
                                                 "http://localhost:8000/v1.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply the changes without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every event as a line of JSON; applies only with "
                                          "--yes.")] = False,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0,
) -> None:
    """Let a model work in a copy of a checkout; shows the diff and applies it when you agree."""
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

    result = work(prompt, repo, model=model, base_url=base_url, temperature=temperature, approve=approve,
                  hooks=hooks)
    if as_json:
        hooks.done(result)
        raise typer.Exit(0 if result.applied else 1)
    if result.answer:
        console.print(result.answer, markup=False, highlight=False, soft_wrap=True)
    console.print(result.line(), markup=False, soft_wrap=True)
    if not result.applied:
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Say which sandbox holds here and what it guarantees."""
    from vivace.sandbox import open_sandbox

    sandbox = open_sandbox()
    console.print(f"sandbox: [bold]{sandbox.name}[/]")
    found = sandbox.describe()
    for sign, what in [("[green]held[/]", found.held), ("[yellow]not held[/]", found.missing)]:
        for line in what:
            console.print(f"  {sign}: {line}")


app.command()(ask)


def main() -> None:
    """Entry point: turns expected errors into one line on stderr."""
    try:
        app()
    except VivaceError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", InfraError.exit_code)


def _fail(problem: str, exit_code: int) -> NoReturn:
    print(f"vivace: {' '.join(problem.split())}", file=sys.stderr)
    raise SystemExit(exit_code) from None


if __name__ == "__main__":  # as torchrun starts it: -m vivace.cli
    main()
