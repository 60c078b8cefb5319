"""Tasks made live: added to the shipped ones, and after an interruption neither verified nor counted twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tiny_package import tiny_layer, tiny_task
from vivace.core.types import Task
from vivace.recipe.config import load_recipe
from vivace.recipe.runner import run_recipe
from vivace.recipe.stages import tasks as stage
from vivace.recipe.stages.table import KINDS
from vivace.tasks.admission import Admission
from vivace.tasks.layers import Layer
from vivace.tasks.registry import read_tasks, write_tasks
from vivace.tasks.sources import Manifest, PackageSource

pytestmark = pytest.mark.slow

RECIPE = """seed = 3
[sources]
manifest = "packages.toml"

[tasks]
train = "train.jsonl"
eval = "eval.jsonl"
live = { shapes = 3 }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with one package whose layer is here already, and a cache of its own."""
    folder = tmp_path_factory.mktemp("home")
    layer = tiny_layer(folder / "layers" / "shapes")
    unseen = tiny_layer(folder / "layers" / "forms", "forms", "eval")
    write_tasks(folder / "train.jsonl", [tiny_task("high", layer)])
    write_tasks(folder / "eval.jsonl", [tiny_task("low", unseen)])
    keys = ("name", "version", "sha256", "licence", "role", "source_dirs")
    row = "".join(f"{key} = {json.dumps(getattr(layer.source, key))}\n" for key in keys)
    (folder / "packages.toml").write_text(f"requirements = []\n[[package]]\n{row}")
    (folder / "recipes").mkdir()
    (folder / "recipes" / "live.toml").write_text(RECIPE)

    def build(manifest: Manifest, packages: list[PackageSource] | None = None) -> dict[str, Layer]:
        return {package.env: replace(layer, source=package) for package in packages or manifest.package}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "build_layers", build)
        patch.setenv("VIVACE_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the tasks that were put to the test of admission."""
    ids: list[str] = []
    real = Admission.rejection

    def rejection(judge: Admission, task: Task, *rest: Any, **more: Any) -> str:
        ids.append(task.id)
        return real(judge, task, *rest, **more)

    monkeypatch.setattr(Admission, "rejection", rejection)
    return ids


def run(home: Path, out: Path) -> dict[str, Any]:
    recipe = load_recipe(home / "recipes" / "live.toml", [], {kind: KINDS[kind].config for kind in KINDS})
    return run_recipe(recipe, out, KINDS, Console(quiet=True))["stages"][-1]


@pytest.fixture(scope="module")
def whole(home: Path) -> tuple[Path, dict[str, Any]]:
    out = home / "runs" / "whole"
    return out, run(home, out)


def test_live_tasks_join_the_shipped_ones(whole: tuple[Path, dict[str, Any]]) -> None:
    out, row = whole
    live, train = read_tasks(out / "tasks" / "live.jsonl"), read_tasks(out / "tasks" / "train.jsonl", "train")
    assert row["made"] == len(live) == 3
    assert [task.id for task in train] == ["shapes-high", *(task.id for task in live)]
    assert row["train_tasks"] == 4
    assert row["yield"]["admitted"] == 3
    assert row["yield"]["candidates"] >= 3
    assert row["made_per_minute"] > 0
    assert row["admitted_share"] == round(3 / row["yield"]["candidates"], 3)


def test_an_interrupted_sitting_goes_on(
    home: Path, whole: tuple[Path, dict[str, Any]], verified: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, add = home / "runs" / "cut", stage.Live.add

    def add_and_interrupt(live: stage.Live, task: Task) -> None:
        add(live, task)
        if len(live.tasks) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage.Live, "add", add_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(home, out)
    held = [task.id for task in read_tasks(out / "tasks" / "live.jsonl")]
    kept = json.loads((out / "tasks" / "live-yield.json").read_text())["shapes"]
    assert kept["admitted"] == len(held) == 2
    verified.clear()
    row = run(home, out)
    assert verified
    assert not set(held) & set(verified)
    assert read_tasks(out / "tasks" / "live.jsonl") == read_tasks(whole[0] / "tasks" / "live.jsonl")
    tally = json.loads((out / "tasks" / "live-yield.json").read_text())["shapes"]
    assert row["yield"]["admitted"] == row["made"] == 3
    assert tally["seconds"] > kept["seconds"] > 0  # both sittings
    assert row["made_per_minute"] == pytest.approx(180 / tally["seconds"], abs=0.01)
    assert 3 <= row["yield"]["candidates"] <= whole[1]["yield"]["candidates"] + 4  # not counted once a sitting
