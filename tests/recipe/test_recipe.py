"""Recipes: overrides, errors that name the nearest key, and runs that go on where they stopped."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vivace.core.errors import BadInput, InfraError
from vivace.core.run import Run, StageDir
from vivace.recipe.config import StageConfig, load_recipe
from vivace.recipe.runner import Context, StageKind, run_recipe


class Inner(StageConfig):
    rate: float = 0.1


class Count(StageConfig):
    upto: int = 3
    inner: Inner = Inner()


class Sum(StageConfig):
    init: str = "count"


class Copy(StageConfig):
    """Reads a file, and may put another one in its place."""

    source: str
    to: str | None = None


def _count(config: Count, context: Context) -> dict[str, Any]:
    """Counts one a call to `tick`; resumes from its own file, as a training stage does from its state."""
    path = context.out / "n.txt"
    n = int(path.read_text()) if path.exists() else 0
    while n < config.upto:
        n += 1
        path.write_text(str(n))
        context.stage.log(step=n)
        if (stop := context.run.directory / "stop").exists():
            stop.unlink()
            raise KeyboardInterrupt
    return {"n": n}


def _sum(config: Sum, context: Context) -> dict[str, Any]:
    n = int((context.of_stage(config.init) / "n.txt").read_text())
    return {"total": n * (n + 1) // 2, "results": {"eval": {"sum": {"n": n}}}}


def _copy(config: Copy, context: Context) -> dict[str, Any]:
    text = context.path(config.source).read_text()
    if config.to:
        context.path(config.to).write_text(f"{text}!")
    return {"text": text}


KINDS = {
    "count": StageKind(Count, _count), "sum": StageKind(Sum, _sum),
    "copy": StageKind(Copy, _copy, lambda config: [config.source], lambda config: [config.to] if config.to else []),
}  # fmt: skip
MODELS = {name: kind.config for name, kind in KINDS.items()}
QUIET = Console(quiet=True)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipes" / "r.toml"
    path.parent.mkdir()
    path.write_text('name = "r"\nseed = 3\n[count]\nupto = 4\n[again]\nkind = "count"\n[sum]\n')
    return path


def test_stages_in_order_with_overrides(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["--count.upto", "9", "--again.inner.rate=0.5", "--seed", "7"], MODELS)
    assert recipe.resolved() == {
        "name": "r", "seed": 7, "count": {"upto": 9, "inner": {"rate": 0.1}},
        "again": {"upto": 3, "inner": {"rate": 0.5}}, "sum": {"init": "count"},
    }


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["--count.uppto", "9"], r"\[count\] has an unknown key 'uppto'; did you mean 'upto'\?"),
        (["--count.inner.rat", "9"], r"unknown key 'inner\.rat'; did you mean 'rate'\?"),
        (["--cuont.upto", "9"], r"no stage 'cuont'; did you mean 'count'\?"),
        (["--count.upto", "many"], r"\[count\] upto: .*integer.*'many'"),
        (["--count.upto"], r"--count\.upto needs a value"),
        (["count.upto", "3"], "unexpected argument"),
        (["--sedd", "3"], r"unknown key 'sedd'; did you mean 'seed'\?"),
    ],
)
def test_a_wrong_key_names_the_nearest(recipe_file: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load_recipe(recipe_file, overrides, MODELS)


def test_a_wrong_recipe_is_one_line(recipe_file: Path) -> None:
    with pytest.raises(BadInput, match=r"did you mean 'r\.toml'"):
        load_recipe(recipe_file.with_name("rr.toml"), [], MODELS)
    recipe_file.write_text("[cout]\n")
    with pytest.raises(BadInput, match="unknown stage 'cout'; did you mean 'count'"):
        load_recipe(recipe_file, [], MODELS)
    recipe_file.write_text("[count\n")
    with pytest.raises(BadInput, match="not valid TOML"):
        load_recipe(recipe_file, [], MODELS)


def test_an_interrupted_run_goes_on_at_the_same_step(recipe_file: Path, tmp_path: Path) -> None:
    recipe, out = load_recipe(recipe_file, [], MODELS), tmp_path / "out"
    out.mkdir()
    (out / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, out, KINDS, QUIET)
    summary = run_recipe(recipe, out, KINDS, QUIET)
    counted = [(stage["name"], stage.get("n")) for stage in summary["stages"]]
    assert counted == [("count", 4), ("again", 3), ("sum", None)]
    assert summary["eval"] == {"sum": {"n": 4}}
    steps = [row["step"] for row in Run(out, recipe.resolved()).metrics() if row["stage"] == "count"]
    assert steps == [1, 2, 3, 4]
    assert run_recipe(recipe, out, KINDS, QUIET) == summary


def test_a_stage_before_its_input_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    recipe_file.write_text("[sum]\n[count]\n")
    with pytest.raises(BadInput, match=r"needs what 'count' makes; put \[count\] before it"):
        run_recipe(load_recipe(recipe_file, [], MODELS), tmp_path / "out", KINDS, QUIET)


def test_a_changed_input_is_named_and_nothing_is_said_to_be_done(recipe_file: Path, tmp_path: Path) -> None:
    recipe_file.write_text('[copy]\nsource = "rows.jsonl"\n')
    (tmp_path / "rows.jsonl").write_text("1")
    recipe, out = load_recipe(recipe_file, [], MODELS), tmp_path / "out"
    summary = run_recipe(recipe, out, KINDS, QUIET)
    assert run_recipe(recipe, out, KINDS, QUIET) == summary
    (tmp_path / "rows.jsonl").write_text("2")
    with pytest.raises(BadInput, match=r"^rows\.jsonl changed since stage 'copy' .*; choose another folder with --out"):
        run_recipe(recipe, out, KINDS, QUIET)
    done = json.loads((out / "copy" / "done.json").read_text())
    del done["inputs"]  # as older versions left it
    (out / "copy" / "done.json").write_text(json.dumps(done))
    assert run_recipe(recipe, out, KINDS, QUIET) == summary


def test_an_input_that_the_run_itself_replaced_is_no_change(recipe_file: Path, tmp_path: Path) -> None:
    recipe_file.write_text('[copy]\nsource = "base"\n[release]\nkind = "copy"\nsource = "other"\nto = "base"\n')
    (tmp_path / "base").write_text("old")
    (tmp_path / "other").write_text("new")
    recipe, out = load_recipe(recipe_file, [], MODELS), tmp_path / "out"
    summary = run_recipe(recipe, out, KINDS, QUIET)
    assert (tmp_path / "base").read_text() == "new!"
    assert run_recipe(recipe, out, KINDS, QUIET) == summary


def test_a_checkpoint_is_known_by_its_manifest(recipe_file: Path, tmp_path: Path) -> None:
    recipe_file.write_text('[copy]\nsource = "base"\n')
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "manifest.json").write_text("{}")
    recipe, out = load_recipe(recipe_file, [], MODELS), tmp_path / "out"
    kinds = {**KINDS, "copy": StageKind(Copy, lambda config, context: {}, lambda config: [config.source])}
    run_recipe(recipe, out, kinds, QUIET)
    (tmp_path / "base" / "README.md").write_text("a better card")
    run_recipe(recipe, out, kinds, QUIET)
    (tmp_path / "base" / "manifest.json").write_text('{"files": {}}')
    with pytest.raises(BadInput, match="base changed since"):
        run_recipe(recipe, out, kinds, QUIET)


def test_a_full_disk_does_not_hide_what_ended_the_stage(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stage: StageDir, **facts: Any) -> None:
        raise InfraError("cannot write seconds.json: No space left on device")

    monkeypatch.setattr(StageDir, "interrupted", full)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        run_recipe(load_recipe(recipe_file, [], MODELS), tmp_path / "out", KINDS, QUIET)
