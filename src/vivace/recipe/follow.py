"""A recipe on many processes: the first runs it, the others join in the stages that need all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vivace.core.run import Run
from vivace.recipe.config import Recipe

if TYPE_CHECKING:
    from vivace.recipe.runner import StageKind


@contextmanager
def joined() -> Iterator[bool]:
    """In the process group that torchrun started, if any; yields whether this process leads."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    from vivace.train.parallel.mesh import process_group

    with process_group():
        yield os.environ["RANK"] == "0"


def announce(stage: str | None) -> None:
    """The leader tells the others which stage comes; None: nothing more."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _share(stage)


def follow(recipe: Recipe, directory: Path, kinds: Mapping[str, StageKind]) -> None:
    """Take part in every stage that is announced. Only the leader writes records."""
    from vivace.recipe.runner import Context, kind_of

    while (name := _share(None)) is not None:
        run = Run(directory, recipe.resolved())
        config = recipe.stages[name]
        kind_of(config, kinds).run(config, Context(recipe, run, run.stage(name), Console(quiet=True)))


def _share(stage: str | None) -> str | None:
    import torch
    import torch.distributed as dist

    said = [stage]
    dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
    return said[0]
