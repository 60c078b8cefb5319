"""`vivace tasks export` and `import`: SWE-bench, SWE-smith, Harbor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from vivace.core.errors import BadInput

if TYPE_CHECKING:
    from vivace.tasks.exchange.files import Form

FORMS = ("swebench", "swebench-tree", "swesmith", "harbor")


def export(
    rows: Annotated[Path, typer.Argument(help="Task rows: JSON lines, or a folder of `make` or `pack`.")],
    to: Annotated[str, typer.Option(help=f"One of {', '.join(FORMS)}.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    manifest: Annotated[Path, typer.Option(help="Pinned packages.")] = Path("recipes/packages.toml"),
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many.")] = None,
) -> None:
    """Write tasks in the format of another system, with the trees and tests it needs."""
    from vivace.tasks.exchange.files import export_tasks
    from vivace.tasks.produce import TASKS
    from vivace.tasks.registry import read_tasks
    from vivace.tasks.sources import load_manifest

    if to not in FORMS:
        raise BadInput(f"--to {to}: give one of {', '.join(FORMS)}")
    place = rows / TASKS if (rows / TASKS).exists() else rows
    _told(*export_tasks(read_tasks(place)[:limit], load_manifest(manifest), cast("Form", to), out), f"written to {out}")


def import_(
    place: Annotated[Path, typer.Argument(help="A file of rows, a folder of tasks/ID, or of Harbor directories.")],
    out: Annotated[Path, typer.Option(help="File of task rows to write.")] = Path("imported.jsonl"),
    manifest: Annotated[Path, typer.Option(help="Pinned packages: each row needs the layer of its own.")] = Path(
        "recipes/packages.toml"),
) -> None:
    """Read tasks of another system and keep those that hold here: no patch fails, the reference passes."""
    from vivace.sandbox import open_sandbox
    from vivace.tasks.exchange.files import import_tasks
    from vivace.tasks.sources import load_manifest

    _told(*import_tasks(place, load_manifest(manifest), open_sandbox(), out), f"written to {out}")


def _told(made: int, refused: dict[str, str], where: str) -> None:
    for name, why in refused.items():
        typer.echo(f"left out {name}: {why}")
    typer.echo(f"{made} tasks {where}")
