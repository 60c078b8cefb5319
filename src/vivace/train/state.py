"""Exact resume: everything a run is made of, in one file, whole or absent."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, require_space

PATTERN = "state-*.pt"


def save_state(folder: Path, state: dict[str, Any], keep_last: int) -> Path:
    """Write `state` (tensors, numbers, strings, containers) as state-<step>.pt and delete all but the last few."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    require_space(folder, buffer.getbuffer().nbytes)
    path = folder / f"state-{state['step']:08d}.pt"
    atomic_write_bytes(path, buffer.getvalue())
    for old in sorted(folder.glob(PATTERN))[:-keep_last]:
        old.unlink()
    return path


def latest_state(folder: Path) -> Path | None:
    """The newest state file of a run, or None."""
    return max(folder.glob(PATTERN), default=None)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state file; tensors only, no code."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError) as error:
        raise BadInput(
            f"training state {path} is damaged ({type(error).__name__}); delete it to resume from an older one"
        ) from error
    return state
