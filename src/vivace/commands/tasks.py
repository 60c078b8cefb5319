"""`vivace tasks`: environments from one's own code, and a look at them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vivace.commands import exchange
from vivace.core.crew import cores
from vivace.core.errors import BadInput

if TYPE_CHECKING:
    from vivace.tasks.produce import Report

app = typer.Typer(no_args_is_help=True, help="Make verified tasks from code with tests, and look at them.")
app.command("export")(exchange.export)
app.command("import")(exchange.import_)
Many = list[str] | None


@app.command()
def make(
    path: Annotated[Path, typer.Argument(help="A checkout with a pytest suite.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the tasks; default tasks-NAME.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Repair tasks; the other families get their share.")] = 100,
    family: Annotated[Many, typer.Option(help="NAME or NAME=COUNT; may be given several times. Default: all.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Default: the cores there are.")] = None,
    extra: Annotated[Many, typer.Option("--with", help="A requirement of the tests that the checkout does not "
                                        "declare.")] = None,
    python: Annotated[Path | None, typer.Option(help="Use this interpreter's packages; install nothing.")] = None,
    source: Annotated[Many, typer.Option(help="Folder or file of code to make tasks from; found if left out.")] = None,
    tests: Annotated[Many, typer.Option(help="Folder or file of tests; found if left out.")] = None,
    html: Annotated[bool, typer.Option("--html", help="Also write a gallery, gallery.html.")] = False,
) -> None:
    """Make verified tasks from a checkout. Interrupted, the same command goes on."""
    from vivace.core.interrupt import Interrupt
    from vivace.sandbox import open_sandbox
    from vivace.tasks.forge import forge
    from vivace.tasks.produce import TASKS, wanted_counts

    wanted = wanted_counts(count, _families(family or []))
    folder = out or Path(f"tasks-{path.resolve().name}")
    interrupt = Interrupt()
    with interrupt.installed():
        report = forge(
            path, folder, open_sandbox(), wanted, seed=seed, workers=workers or cores(),
            extra=extra or [], python=python, sources=source or [], tests=tests or [],
            stop=lambda: interrupt.received, say=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    _print_report(report, folder / TASKS)
    if html and report.made:
        _gallery(folder / TASKS, folder / "gallery.html")
    if interrupt.received:
        typer.echo(f"interrupted; the same command goes on from here (the tasks are in {folder})", err=True)
        raise typer.Exit(130)


@app.command()
def farm(
    packages: Annotated[Many, typer.Argument(help="Names in the manifest; default: all to be trained on.")] = None,
    manifest: Annotated[Path, typer.Option(help="Pinned packages.")] = Path("recipes/packages.toml"),
    out: Annotated[Path, typer.Option(help="Folder with one folder a package.")] = Path("task-farm"),
    count: Annotated[int, typer.Option(min=1, help="Repair tasks of each package; the other families get their "
                                       "share.")] = 100,
    family: Annotated[Many, typer.Option(help="NAME or NAME=COUNT; may be given several times. Default: all.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Packages at a time; default: the cores there are.")] = None
) -> None:
    """Make tasks of many packages, in parallel. Interrupted or killed, the same command goes on."""
    from vivace.core.interrupt import Interrupt
    from vivace.tasks.farm import farm as work
    from vivace.tasks.produce import wanted_counts

    wanted, interrupt = wanted_counts(count, _families(family or [])), Interrupt()
    with interrupt.installed():
        found = work(manifest, packages or [], out, wanted, seed=seed, processes=workers or cores(),
                     stop=lambda: interrupt.received, say=lambda line: typer.echo(line, err=True))
    for name, why in found.failed.items():
        typer.echo(f"{name}: {why}", err=True)
    for name in found.busy:
        typer.echo(f"{name}: another process has it", err=True)
    rate = f"; {found.cpu_seconds / found.counted:.2f} CPU-seconds a task over {found.counted}" if found.counted else ""
    typer.echo(f"{sum(found.made.values())} tasks of {len(found.made)} packages in {out}{rate}")
    if interrupt.received or found.failed:
        raise typer.Exit(130 if interrupt.received else 1)


@app.command()
def pack(
    places: Annotated[list[Path], typer.Argument(help="Folders of `make` or `farm`, or files of rows.")],
    out: Annotated[Path, typer.Option(help="Folder of the registry.")] = Path("task-registry"),
    manifest: Annotated[Path, typer.Option(help="Pinned packages.")] = Path("recipes/packages.toml"),
    against: Annotated[list[Path] | None, typer.Option(help="Benchmark rows (JSON lines) that nothing may be shared "
                                                       "with.")] = None,
    valid: Annotated[Many, typer.Option(help="A package whose tasks are held back for validation.")] = None,
    per_function: Annotated[int, typer.Option(min=1, help="Most tasks of one function and family.")] = 12,
    repo_share: Annotated[float, typer.Option(min=0, max=1, help="Largest share of one package.")] = 0.10,
    operator_share: Annotated[float, typer.Option(min=0, max=1, help="Largest share of one operator.")] = 0.15,
    html: Annotated[bool, typer.Option("--html", help="Also write a gallery, gallery.html.")] = False,
) -> None:
    """Split, decontaminate, deduplicate and cap tasks; write them as Parquet."""
    from vivace.tasks.curate import Caps
    from vivace.tasks.pack import pack as write
    from vivace.tasks.sources import load_manifest

    caps = Caps(function=per_function, repo_share=repo_share, operator_share=operator_share)
    report = write(places, out, load_manifest(manifest), against=against or [], valid=valid or [], caps=caps,
                   say=typer.echo)
    for why, number in report["dropped"].items():
        typer.echo(f"dropped {number}: {why}")
    for note in report["notes"]:
        typer.echo(note)
    if html and report["tasks"]["train"]:
        _gallery(out / "train", out / "gallery.html")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="Task rows (JSON lines), or a folder that `make` wrote.")],
    task_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One task in full; the beginning of its id will "
                                                  "do.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a gallery to this file.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Tasks of each kind in the gallery.")] = 8,
) -> None:
    """Statistics of a file of tasks, or one task with its statement and diffs."""
    from vivace.tasks.overview import described, overview
    from vivace.tasks.registry import read_tasks

    file = _rows_of(file)
    rows = read_tasks(file)
    if html is not None:
        _gallery(file, html, limit)
    elif task_id is None:
        _print_tables(overview(rows))
    else:
        found = [task for task in rows if task.id.startswith(task_id)]
        if len(found) != 1 and task_id not in {task.id for task in found}:
            raise BadInput(f"{len(found) or 'no'} tasks of {file} have an id that begins with {task_id!r}; see `vivace "
                           f"tasks show {file}`")
        typer.echo(described(next((task for task in found if task.id == task_id), found[0])))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Task rows (JSON lines), or a folder that `make` wrote.")],
    manifest: Annotated[Path | None, typer.Option(help="packages.toml; found beside the rows or above them.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="This many tasks, drawn with the seed.")] = None,
    cheat: Annotated[bool, typer.Option("--cheat", help="Also try every cheating patch: slow.")] = False,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Default: the cores there are.")] = None,
) -> None:
    """Judge tasks again, cold: what solves them passes, doing nothing fails, and with --cheat no cheat passes."""
    from vivace.sandbox import open_sandbox
    from vivace.tasks.checking import check_tasks
    from vivace.tasks.sources import load_manifest

    file = _rows_of(file)
    places = [place / "packages.toml" for place in (file.parent, file.parent.parent)]
    found = manifest or next((place for place in places if place.exists()), places[0])
    problems = check_tasks(file, load_manifest(found), open_sandbox(), cheat=cheat, limit=limit, seed=seed,
                           workers=workers or cores(), say=typer.echo)
    if problems:
        raise typer.Exit(1)


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(help="Task rows, or a folder of `make` or `pack`.")],
    manifest: Annotated[Path, typer.Option(help="Pinned packages.")] = Path("recipes/packages.toml"),
    limit: Annotated[int, typer.Option(min=1, help="This many tasks, drawn with the seed.")] = 200,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Look for pieces of the solution in the statements of tasks drawn at random."""
    from vivace.tasks.exchange.files import layers_of
    from vivace.tasks.leaks import audit as look
    from vivace.tasks.registry import read_tasks
    from vivace.tasks.sources import load_manifest

    tasks = read_tasks(_rows_of(file))
    found, families = look(tasks, layers_of(tasks, load_manifest(manifest)), limit, seed, typer.echo)
    of = ", ".join(f"{name} {count}" for name, count in families.most_common())
    typer.echo(f"{len({leak.task_id for leak in found})} of {families.total()} statements leak ({of})")
    if found:
        raise typer.Exit(1)


def _rows_of(place: Path) -> Path:
    """The rows in a folder that `make` wrote; a file, or a folder of Parquet files, is its own."""
    from vivace.tasks.produce import TASKS

    return place / TASKS if (place / TASKS).exists() else place


@app.command("from-sessions")
def from_sessions(
    path: Annotated[Path, typer.Argument(help="The checkout that the sessions were held on.")] = Path("."),
    out: Annotated[Path | None, typer.Option(help="Folder of the tasks; default session-tasks-NAME.")] = None,
    session: Annotated[Many, typer.Option(help="Only this one (the beginning of its name); may be repeated.")] = None,
    extra: Annotated[Many, typer.Option("--with", help="A requirement of the tests that the checkout does not "
                                        "declare.")] = None,
    python: Annotated[Path | None, typer.Option(help="Use this interpreter's packages; install nothing.")] = None,
    source: Annotated[Many, typer.Option(help="Folder or file of code; found if left out.")] = None,
    tests: Annotated[Many, typer.Option(help="Folder or file of tests; found if left out.")] = None,
) -> None:
    """Make verified tasks of changes that you have taken in sessions and that still stand in the checkout."""
    from vivace.sandbox import open_sandbox
    from vivace.tasks.from_sessions import tasks_from_sessions
    from vivace.tasks.produce import TASKS

    folder = out or Path(f"session-tasks-{path.resolve().name}")
    harvest = tasks_from_sessions(path, folder, open_sandbox(), only=session or [], extra=extra or [], python=python,
                                  sources=source or [], tests=tests or [], say=lambda line: typer.echo(line, err=True))
    for name, why in harvest.refused.items():
        typer.echo(f"{name}: no task, {why}", err=True)
    if not harvest.tasks:
        raise typer.Exit(1)
    typer.echo(f"{len(harvest.tasks)} tasks in {folder / TASKS}; `vivace tasks check {folder}` judges them again")


def _families(given: list[str]) -> dict[str, int | None]:
    from vivace.tasks.families import PRODUCERS

    chosen: dict[str, int | None] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in PRODUCERS or (number and not number.isdigit()):
            raise BadInput(f"--family {text}: give one of {', '.join(PRODUCERS)}, or NAME=COUNT")
        chosen[name] = int(number) if number else None
    return chosen


def _print_report(report: Report, path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("made of", "wanted", "made", "tried", "refused because")
    for name, count in report.wanted.items():
        reasons = "; ".join(f"{why} {n}" for why, n in report.refused.get(name, {}).items())
        note = " (no more candidates)" if name in report.exhausted else ""
        table.add_row(name, str(count), f"{report.made.get(name, 0)}{note}", str(report.tried.get(name, 0)), reasons)
    console.print(table)
    row = report.row()
    console.print(f"{row['total']} tasks in {path} ({row['per_minute']} a minute, {row['seconds']:.0f} s)",
                  soft_wrap=True, highlight=False)


def _print_tables(tables: dict[str, list[tuple[str, ...]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, (head, *rows) in tables.items():
        table = Table(*head, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _gallery(file: Path, html: Path, limit: int = 8) -> None:
    from vivace.core.files import atomic_write_text
    from vivace.evals.gallery import render_gallery
    from vivace.tasks.registry import read_tasks

    atomic_write_text(html, render_gallery(read_tasks(file), file.name, limit))
    typer.echo(f"written to {html}")
