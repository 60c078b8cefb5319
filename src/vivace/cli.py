"""The command line. Thin: parse, call, print. Every expected failure is one line and a non-zero exit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from vivace.commands import evaluate, sessions
from vivace.commands import model as model_commands
from vivace.commands import tasks as task_commands
from vivace.commands.acp.command import acp
from vivace.commands.agent import agent
from vivace.commands.ask import ask
from vivace.commands.card import card
from vivace.commands.connect import connect
from vivace.commands.serve import serve
from vivace.commands.telemetry import telemetry
from vivace.commands.trust import trust
from vivace.core.errors import InfraError, VivaceError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Build, measure and ship a flash coding model.")
app.add_typer(model_commands.app, name="model")
app.add_typer(task_commands.app, name="tasks")
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
def doctor() -> None:
    """Say which sandbox holds here and what it guarantees."""
    from vivace.sandbox import open_sandbox

    sandbox = open_sandbox()
    console.print(f"sandbox: [bold]{sandbox.name}[/]")
    found = sandbox.describe()
    for sign, what in [("[green]held[/]", found.held), ("[yellow]not held[/]", found.missing)]:
        for line in what:
            console.print(f"  {sign}: {line}")


app.command()(agent)
app.command()(ask)
app.command()(trust)
app.command()(acp)
app.command()(connect)
app.command()(telemetry)
app.add_typer(sessions.app, name="sessions")


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
