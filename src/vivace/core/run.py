"""A run: a directory with the resolved config, metrics.jsonl, and one folder a stage with its digests."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, digest, read_json, read_jsonl, sha256_file, write_json

DONE, SITTINGS = "done.json", "seconds.json"


class Run:
    """Opened with the config it belongs to; a directory holding another config is refused, not overwritten."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self.directory = directory
        self.config = config
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "config.json"
        if path.exists():
            held = read_json(path, f"choose another name with --out, or delete {directory}")
            if digest(held) != digest(config):
                keys = ", ".join(_differences(held, config))
                raise BadInput(f"{directory} holds a run with another config (differs in: {keys}); "
                               "choose another name with --out, or delete that folder")
        else:
            write_json(path, config)

    def log(self, **row: Any) -> None:
        """One row of metrics.jsonl, with the time."""
        append_jsonl(self.directory / "metrics.jsonl", {"time": round(time.time(), 3), **row})

    def metrics(self) -> list[dict[str, Any]]:
        """What was logged, without the steps that were lost and done again after a hard kill."""
        path = self.directory / "metrics.jsonl"
        return newest_steps(read_jsonl(path)) if path.exists() else []

    def stage(self, name: str) -> StageDir:
        return StageDir(self, name)


class StageDir:
    """One stage's folder. `done.json` is written last, so its presence means the stage is whole.

    An interrupted stage adds up: `seconds.json` keeps what its sittings have taken so far, and from which inputs.
    """

    def __init__(self, run: Run, name: str) -> None:
        self.run, self.name = run, name
        self.directory = run.directory / name
        self.directory.mkdir(exist_ok=True)
        self._start = time.monotonic()
        self._before: dict[str, Any] = {}
        self._inputs: dict[str, str] = {}

    @property
    def done(self) -> dict[str, Any] | None:
        return self._read(DONE, "delete it, and the stage is done again")

    def log(self, **row: Any) -> None:
        self.run.log(stage=self.name, **row)

    def begin(self, inputs: Mapping[str, str]) -> None:
        """Start a sitting; `inputs` are the digests of what the stage reads from outside its folder.

        Raises:
            BadInput: an earlier sitting read something else, or what it left is damaged.
        """
        self._before = self._read(SITTINGS, "delete it; the stage goes on, its earlier seconds are not counted") or {}
        self._check(self._before, inputs)
        self._inputs = dict(inputs)
        self._start = time.monotonic()

    def check_inputs(self, inputs: Mapping[str, str]) -> None:
        """BadInput if a stage that is whole was made from other inputs. Runs of older versions name none."""
        self._check(self.done or {}, inputs)

    def finish(self, *, peak_rss_mb: float = 0.0, **facts: Any) -> dict[str, Any]:
        """Record time and memory over all sittings, the inputs, and the digests of what the stage made."""
        outputs = {
            str(path.relative_to(self.directory)): sha256_file(path)
            for path in sorted(self.directory.rglob("*"))
            if path.is_file() and path.name not in (DONE, SITTINGS) and "state" not in path.parts
        }
        result = {"name": self.name, "seconds": round(self.seconds(), 2), "peak_rss_mb": self._peak(peak_rss_mb),
                  **facts, "inputs": self._inputs, "outputs": outputs}
        write_json(self.directory / DONE, result)
        return result

    def interrupted(self, *, peak_rss_mb: float = 0.0) -> None:
        """Remember what this sitting took; the next one goes on from the stage's own checkpoint."""
        self._before = {"seconds": self.seconds(), "peak_rss_mb": self._peak(peak_rss_mb), "inputs": self._inputs}
        self._start = time.monotonic()
        write_json(self.directory / SITTINGS, self._before)

    def seconds(self) -> float:
        """Used by this sitting and the interrupted ones before it."""
        return float(self._before.get("seconds", 0.0)) + time.monotonic() - self._start

    def _peak(self, now: float) -> float:
        return max(now, float(self._before.get("peak_rss_mb", 0.0)))

    def _check(self, held: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        before = held.get("inputs", {})
        changed = [name for name in inputs if name in before and before[name] != inputs[name]]
        if changed:
            raise BadInput(f"{', '.join(changed)} changed since stage {self.name!r} of {self.run.directory} used it; "
                           "choose another folder with --out, or delete that one")

    def _read(self, name: str, remedy: str) -> dict[str, Any] | None:
        path = self.directory / name
        if not path.exists():
            return None
        value = read_json(path, remedy)
        if name == SITTINGS and isinstance(value, int | float):  # as older versions wrote it
            return {"seconds": value}
        if not isinstance(value, dict):
            raise BadInput(f"{path} is damaged: it holds no JSON object; {remedy}")
        return value


def newest_steps(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without those of steps that their stage logged again later: a resume goes on from its last saved state.

    A step may have rows of several kinds (training, evaluation), told apart by their first measure.
    """
    kept: list[dict[str, Any]] = []
    reached: dict[Any, float] = {}
    for row in rows:
        stage, step = row.get("stage"), row.get("step")
        if step is not None:
            if step <= reached.get(stage, -1):
                kept = [old for old in kept if not _redone(old, row)]
            reached[stage] = step
        kept.append(row)
    return kept


def _redone(old: dict[str, Any], new: dict[str, Any]) -> bool:
    if old.get("stage") != new.get("stage") or old.get("step") is None:
        return False
    return old["step"] > new["step"] or (old["step"] == new["step"] and _kind(old) == _kind(new))


def _kind(row: dict[str, Any]) -> str | None:
    return next((key for key in row if key not in ("time", "stage", "step", "tokens")), None)


def _differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted(set(a) | set(b)):
            found += _differences(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if a == b else [prefix or "everything"]
