"""`vivace eval` and `vivace compare`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivace.core.errors import BadInput

if TYPE_CHECKING:
    from rich.table import Table

Names = Annotated[list[str] | None, typer.Argument(help="Suites, as `--status` lists them.")]
Many = list[str] | None
WIDE = 200


def evaluate(
    suites: Names = None,
    model: Annotated[Many, typer.Option(help="[LABEL=]FOLDER or [LABEL=]NAME@URL; may be given several times.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The model to compare with.")] = None,
    data: Annotated[Many, typer.Option(help="SUITE=PATH, SUITE=hub:OWNER/NAME@REVISION, or SUITE=sample.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the evaluation; run again to go on.")] = Path("runs/eval"),
    limit: Annotated[int | None, typer.Option(min=1, help="This many items of each suite.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Attempts at each item.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0)] = 0.0,
    seed: Annotated[int, typer.Option()] = 0,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Generated tokens of an attempt.")] = None,
    turns: Annotated[int, typer.Option(min=0, help="Turns of an agent or a dialogue; 0: the suite's own.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Attempts at a time.")] = 16,
    judge: Annotated[str | None, typer.Option(help="Judge where one is needed; never the model under test.")] = None,
    user: Annotated[str | None, typer.Option(help="Model that plays the user, where a suite has one.")] = None,
    price: Annotated[Many, typer.Option(help="LABEL=IN/CACHED/OUT, dollars per million tokens.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help="Stop after generating this many.")] = None,
    budget_seconds: Annotated[float | None, typer.Option(min=0)] = None,
    budget_dollars: Annotated[float | None, typer.Option(min=0)] = None,
    inspect: Annotated[bool, typer.Option("--inspect", help="Let Inspect run it; its logs go to OUT/inspect.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what there is, check the graders, and stop.")] = False,
) -> None:
    """Run suites with models side by side and print the table of the reference card."""
    if status:
        from vivace.evals.status import page

        typer.echo(page(out))
        return
    if not suites or not (model or baseline):
        raise BadInput("name a suite and a model: vivace eval vivace-bench --model A --baseline B")
    from vivace.commands.choosing import as_labelled_prices
    from vivace.commands.models import open_model
    from vivace.evals.session import PAGE, Budget, Plan
    from vivace.evals.session import evaluate as run
    from vivace.evals.suites import get_suite

    if inspect and (budget_tokens or budget_seconds or budget_dollars):
        raise BadInput("budgets are kept by Vivace's own runner; leave out --inspect, or the budget")
    prices = dict(as_labelled_prices(text) for text in price or [])
    if len(set(suites)) < len(suites):
        raise BadInput("a suite is named twice")
    found = [get_suite(name) for name in suites]
    where = _data(found, data or [])
    named = list(model or [])
    base = baseline or named.pop(0)
    opened = [open_model(text, prices) for text in (base, *named)]
    if len({one.label for one in opened}) < len(opened):
        raise BadInput("two models have the same name; give them labels: --model a=PATH --model b=PATH")
    roles = {role: open_model(text, {}) for role, text in (("judge", judge), ("user", user)) if text}
    plan = Plan(found, where, opened[0], opened[1:], roles, out, limit, repeats, seed, temperature, max_tokens,
                turns=turns, workers=workers, inspect=inspect, command=shlex.join(["vivace", *sys.argv[1:]]))
    try:
        result, whole = run(plan, Budget(budget_tokens, budget_seconds, budget_dollars))
    except KeyboardInterrupt:
        typer.echo(f"interrupted; the same command goes on from here (the attempts are in {out})", err=True)
        raise typer.Exit(130) from None
    finally:
        for one in (*opened, *roles.values()):
            close = getattr(one.client, "close", None)
            if close:
                close()
    _show(result)
    typer.echo(f"\nwritten to {out / PAGE}" + (f"; inspect view --log-dir {out / 'inspect'}" if inspect else ""))
    if not whole:
        typer.echo("a budget ended this before all items were played; the same command goes on", err=True)
        raise typer.Exit(1)


def compare(
    run_a: Annotated[Path, typer.Argument(help="The baseline: OUT/SUITE/MODEL, or a folder above it.")],
    run_b: Annotated[Path, typer.Argument(help="The model.")],
    as_json: Annotated[bool, typer.Option("--json", help="All figures.")] = False,
) -> None:
    """Compare two runs item by item; refuses runs that were not made alike, and says in what they differ."""
    import json

    from vivace.evals.cardtable import build
    from vivace.evals.runs import matched
    from vivace.evals.suites import MODULES, get_suite

    pairs = {a.suite: (a, [b]) for a, b in matched(run_a, run_b)}
    clustered = {name: get_suite(name).info.clustered for name in pairs if name in MODULES}
    result = build(pairs, clustered)
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        _show(result)


def _data(suites: Any, given: list[str]) -> dict[str, tuple[Path, str]]:
    from vivace.evals.status import shipped
    from vivace.evals.suites.rows import resolve

    named = dict(text.partition("=")[::2] for text in given)
    if unknown := sorted(set(named) - {suite.info.name for suite in suites}):
        raise BadInput(f"--data {unknown[0]}: that suite is not being run")
    found = {}
    for suite in suites:
        info, words = suite.info, named.get(suite.info.name, "")
        if words == "sample" or (not words and info.ships):
            found[info.name] = (shipped(info.name), words or info.source)
        elif words:
            found[info.name] = (resolve(words), words if words.startswith("hub:") else Path(words).name)
        elif suite.real is not None:
            found[info.name] = suite.real()
        else:
            gate = f"; {info.gate}" if info.gate else ""
            raise BadInput(f"{info.name} needs its data: --data {info.name}=PATH. They are {info.source} "
                           f"({info.licence}{gate}); {info.name}=sample runs a few authored items instead")
    return found


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    from vivace.evals import cardtable

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)  # a file has no edge
    console.print(_table(cardtable.HEADER, cardtable.rows(result)))
    console.print(_table(cardtable.DETAIL, cardtable.detail_rows(result)))
    for line in result["definitions"]:
        console.print(Text(line, style="dim"))


def _table(header: list[str], rows: list[list[str]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for at, name in enumerate(header):
        table.add_column(name, justify="right" if at > 1 else "left")
    for row in rows:
        table.add_row(*row)
    return table
