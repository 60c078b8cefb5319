"""A run: a directory with the resolved config, metrics.jsonl, a manifest of digests, and one folder a stage."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, digest, read_jsonl, sha256_file, write_json


class Run:
    """Opened with the config it belongs to; a directory holding another config is refused, not overwritten."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self.directory = directory
        self.config = config
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "config.json"
        if path.exists():
            held = json.loads(path.read_text())
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
        path = self.directory / "metrics.jsonl"
        return list(read_jsonl(path)) if path.exists() else []

    def stage(self, name: str) -> StageDir:
        return StageDir(self, name)


class StageDir:
    """One stage's folder. `done.json` is written last, so its presence means the stage is whole."""

    def __init__(self, run: Run, name: str) -> None:
        self.run, self.name = run, name
        self.directory = run.directory / name
        self.directory.mkdir(exist_ok=True)
        self._start = time.monotonic()

    @property
    def done(self) -> dict[str, Any] | None:
        path = self.directory / "done.json"
        return json.loads(path.read_text()) if path.exists() else None

    def log(self, **row: Any) -> None:
        self.run.log(stage=self.name, **row)

    def finish(self, **facts: Any) -> dict[str, Any]:
        """Record the time and the digests of what the stage made.

        An interrupted stage adds up: the seconds of earlier sittings are kept in `seconds.json`.
        """
        outputs = {
            str(path.relative_to(self.directory)): sha256_file(path)
            for path in sorted(self.directory.rglob("*"))
            if path.is_file() and path.name not in ("done.json", "seconds.json") and "state" not in path.parts
        }
        result = {"name": self.name, "seconds": round(self.spent(), 2), **facts,
                  "outputs": outputs}
        write_json(self.directory / "done.json", result)
        return result

    def spent(self) -> float:
        """Seconds used by this sitting and the interrupted ones before it."""
        path = self.directory / "seconds.json"
        before = json.loads(path.read_text()) if path.exists() else 0.0
        return float(before) + time.monotonic() - self._start

    def interrupted(self) -> None:
        """Remember the time spent; the next sitting goes on from the stage's own checkpoint."""
        spent = self.spent()
        self._start = time.monotonic()
        write_json(self.directory / "seconds.json", spent)


def _differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted(set(a) | set(b)):
            found += _differences(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if a == b else [prefix]
