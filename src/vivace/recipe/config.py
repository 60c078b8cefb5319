"""Reading a recipe: TOML, `--stage.key value` overrides, and errors that name the nearest valid key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from vivace.core.errors import BadInput


class StageConfig(BaseModel):
    """Base of every stage's table: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class Recipe(BaseModel):
    """A resolved recipe: stages in the order they run, each with its validated config."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    seed: int
    root: Path
    stages: dict[str, StageConfig]

    def resolved(self) -> dict[str, Any]:
        """What `--dry-run` prints and config.json holds. No absolute paths: a run can be moved."""
        return {"name": self.name, "seed": self.seed,
                **{name: config.model_dump(mode="json") for name, config in self.stages.items()}}


def load_recipe(path: Path, overrides: Sequence[str], kinds: Mapping[str, type[StageConfig]]) -> Recipe:
    """Parse and validate. `kinds` maps a stage kind to its config model.

    A table is a stage; its kind is `kind = "..."`, or its own name. Paths inside are relative to the folder
    above the recipe's (the checkout), or to the working directory when absolute paths are not given.
    """
    if not path.is_file():
        near = _nearest(path.name, [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else [])
        raise BadInput(f"no recipe at {path}{near}")
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not valid TOML: {error}") from error
    _override(table, overrides)
    name, seed = str(table.pop("name", path.stem)), table.pop("seed", 0)
    if not isinstance(seed, int):
        raise BadInput(f"{path}: seed must be a whole number, not {seed!r}")
    stages: dict[str, StageConfig] = {}
    for stage, body in table.items():
        if not isinstance(body, dict):
            raise BadInput(f"{path}: unknown key {stage!r}{_nearest(stage, ['name', 'seed'])}")
        kind = str(body.pop("kind", stage))
        if kind not in kinds:
            raise BadInput(f"{path}: unknown stage {kind!r}{_nearest(kind, kinds)}")
        stages[stage] = validate(kinds[kind], body, f"{path}: [{stage}]")
    return Recipe(name=name, seed=seed, root=path.resolve().parent.parent, stages=stages)


def validate(model: type[StageConfig], body: dict[str, Any], where: str) -> StageConfig:
    """Pydantic validation with one clear line: the first problem, and the nearest valid key for an unknown one."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = _nearest(str(first["loc"][-1]), _fields(model, first["loc"]))
            raise BadInput(f"{where} has an unknown key {place!r}{hint}") from error
        raise BadInput(f"{where} {place}: {first['msg']} (got {first.get('input')!r})") from error


def _fields(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    for part in place[:-1]:
        if str(part) in model.model_fields:  # else the index of a list's item
            model = next(_models(model.model_fields[str(part)].annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation is made of, as in `list[Share]` or `Limits | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _override(table: dict[str, Any], overrides: Sequence[str]) -> None:
    """Apply `--stage.key value` and `--stage.key=value` pairs in place; values are TOML, else plain strings."""
    items = list(overrides)
    while items:
        flag = items.pop(0)
        if not flag.startswith("--"):
            raise BadInput(f"unexpected argument {flag!r}; overrides look like --rl.steps 5")
        key, equals, value = flag[2:].partition("=")
        if not equals:
            if not items:
                raise BadInput(f"--{key} needs a value")
            value = items.pop(0)
        *path, last = key.split(".")
        node = table
        if path and not isinstance(table.get(path[0]), dict):
            raise BadInput(f"--{key}: this recipe has no stage {path[0]!r}{_nearest(path[0], table)}")
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise BadInput(f"--{key}: {part} is not a table; give its whole value with --{key.rpartition('.')[0]}")
        node[last] = _toml_value(value)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, 1, 0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""
