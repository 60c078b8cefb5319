"""Exact resume: everything a run is made of, whole or absent.

One process writes state-<step>.pt. Each of several writes state-<step>.parts/part-<rank>-of-<ranks>.pt with the rows of
tensors that it holds, and `spans` to say which; the state is whole when every part is there. Either is read by any
number of processes.
"""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from vivace.core.errors import BadInput
from vivace.core.files import atomic_file, require_space

State = dict[str, Any]


def save_state(folder: Path, state: State, keep_last: int, rank: int = 0, ranks: int = 1) -> Path:
    """Write `state` (tensors, numbers, strings, containers) and, on the first rank, delete all but the last few."""
    require_space(folder, sum(t.numel() * t.element_size() for t in _tensors(state)))
    path = folder / f"state-{state['step']:08d}.{'pt' if ranks == 1 else 'parts'}"
    file = path if ranks == 1 else path / f"part-{rank:05d}-of-{ranks:05d}.pt"
    with atomic_file(file) as out:
        torch.save(state, out)
    if rank == 0:
        for old in _whole_states(folder)[:-keep_last]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    return path


def latest_state(folder: Path) -> Path | None:
    """The newest whole state of a run, or None."""
    return max(_whole_states(folder), default=None)


def _whole_states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("state-*") if path.suffix == ".pt" or _parts(path))


def _parts(path: Path) -> list[Path]:
    """The files of a state, in the order of ranks; empty if one is missing."""
    if path.suffix == ".pt":
        return [path]
    sets: dict[int, list[Path]] = {}
    for part in sorted(path.glob("part-*-of-*.pt")):
        sets.setdefault(int(part.stem.rpartition("-")[2]), []).append(part)
    return next((parts for ranks, parts in sets.items() if len(parts) == ranks), [])


def load_state(path: Path, spans: Mapping[str, Sequence[Any]] | None = None) -> State:
    """Read a state (no code, data only): tensors whole, or of the parameters in `spans` those rows alone.

    `spans` maps a parameter to (first row, row after the last, shape of the whole, ...).
    """
    parts = [_read(part) for part in _parts(path)]
    state = parts[0]
    wanted = spans or {}

    def put_together(key: str, parameter: str, of: Callable[[State], dict[str, Tensor]]) -> Tensor:
        first = of(state)[key]
        held = [part.get("spans", {}).get(parameter) for part in parts]
        if held[0] is None and parameter not in wanted:
            return first
        shape = tuple(first.shape) if held[0] is None else tuple(held[0][2])
        start, stop = wanted[parameter][:2] if parameter in wanted else (0, shape[0])
        rows = first.new_empty(stop - start, *shape[1:])
        for part, span in zip(parts, held, strict=True):
            begin, end = (0, shape[0]) if span is None else span[:2]
            low, high = max(start, begin), min(stop, end)
            if low < high:
                rows[low - start : high - start] = of(part)[key][low - begin : high - begin]
        return rows

    model = {key: put_together(key, key, lambda part: part["model"]) for key in state["model"]}
    optimizer = state["optimizer"]
    if len(parts) > 1 or wanted:
        moments = {key: put_together(key, key.rpartition(".")[0], lambda part: part["optimizer"]["state"])
                   for key in optimizer["state"]}  # fmt: skip
        optimizer = {**optimizer, "state": moments}
    return {**state, "model": model, "optimizer": optimizer}


def _read(path: Path) -> State:
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True, mmap=path.parent.suffix == ".parts")
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError) as error:
        raise BadInput(
            f"training state {path} is damaged ({type(error).__name__}); delete it to resume from an older one"
        ) from error
    return state


class StateWriter:
    """Saves in the background: tensors are copied at once, the file is written while training goes on.

    A write that failed is raised by the next call; leaving the block waits for the last one. One at a time: saving
    faster than the disk can take it waits.
    """

    def __init__(self, folder: Path, keep_last: int, rank: int = 0, ranks: int = 1) -> None:
        self.folder, self.keep_last, self.rank, self.ranks = folder, keep_last, rank, ranks
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._pending: Future[Path] | None = None

    def save(self, state: State) -> None:
        """Snapshot `state` and start to write it."""
        self.wait()
        snapshot = _copied(state)
        self._pending = self._pool.submit(save_state, self.folder, snapshot, self.keep_last, self.rank, self.ranks)

    def check(self) -> None:
        """Raise what a finished write failed with."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Until what was saved is on disk."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> Self:
        for stale in self.folder.glob("**/.*.pt.*"):  # a write that a kill cut short
            if self.rank == 0 and re.search(r"(state|part)-", stale.name):
                stale.unlink(missing_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self.wait()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for one in inside for tensor in _tensors(one)]


def _copied(value: Any) -> Any:
    """Tensors cloned to main memory; containers rebuilt."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(one) for one in value)
    return value
