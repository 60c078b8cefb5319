"""What tau2's telecom classes get in place of Inspect and of their package's helpers. See `graders.tau2`."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

TAU2_DATA_DIR = Path()
"""Set when the package's parts have been found."""
Tool = Callable[..., Any]
Made = TypeVar("Made")
_store: ContextVar[dict[str, Any]] = ContextVar("tau2_store")


class ToolError(Exception):
    """A tool refuses; its words are for the model."""


class StoreModel(BaseModel):
    """Base of the world's two sides."""

    model_config = ConfigDict(arbitrary_types_allowed=True)


def tool(function: Made) -> Made:
    """Inspect registers tools; here they are found by the package's own lists."""
    return function


@contextmanager
def at(store: dict[str, Any]) -> Iterator[None]:
    """Within, `store_as` gives the objects of this world."""
    token = _store.set(store)
    try:
        yield
    finally:
        _store.reset(token)


def store_as(kind: type[Made], instance: str | None = None) -> Made:
    """The world's object of a class, made when first asked for."""
    store, key = _store.get(), f"{kind.__name__}:{instance}"
    if key not in store:
        store[key] = kind()
    made: Made = store[key]
    return made


def load_file(path: str | Path) -> dict[str, Any]:
    """A TOML or JSON file."""
    text = Path(path).read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text) if str(path).endswith(".toml") else json.loads(text)
    return found


def dump_file(path: str | Path, data: dict[str, Any], **kwargs: Any) -> None:
    """Never called: worlds are not written."""
    raise NotImplementedError


def get_pydantic_hash(held: BaseModel) -> str:
    """SHA-256 of an object's fields."""
    return hashlib.sha256(json.dumps(held.model_dump(), sort_keys=True, default=str).encode()).hexdigest()
