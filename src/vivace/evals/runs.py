"""Runs on disk (OUT/SUITE/MODEL), and whether two of them may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Attempt
from vivace.evals.suite import FILE, IDENTITY, read_attempts, read_identity

MUST_AGREE = ("suite", "data", "grader", "harness", "limits", "sampling", "roles", "seed", "sandbox")
_SHOWN = 60


@dataclass(frozen=True)
class SuiteRun:
    """One model's attempts at one suite, with everything that they were made with."""

    folder: Path
    identity: Mapping[str, Any]
    attempts: Sequence[Attempt]

    @property
    def suite(self) -> str:
        return str(self.identity.get("suite", self.folder.parent.name))

    @property
    def model(self) -> str:
        return self.folder.name

    @property
    def measure(self) -> str:
        """The score that is the benchmark's figure; "": the share solved."""
        return str(self.identity.get("grader", {}).get("measure", ""))

    @property
    def repeats(self) -> int:
        return 1 + max((attempt.sample for attempt in self.attempts), default=0)


def read_run(folder: Path) -> list[SuiteRun]:
    """The suite runs in and below a folder, by path.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    found = sorted(path.parent for path in folder.rglob(FILE) if (path.parent / IDENTITY).exists())
    if not found:
        raise BadInput(f"no evaluation in {folder}; name a folder that `vivace eval --out` made, or one below it")
    return [SuiteRun(path, read_identity(path), list(read_attempts(path).values())) for path in found]


def differences(a: SuiteRun, b: SuiteRun) -> list[str]:
    """In what two runs differ, of all that must agree: `limits.max_tokens: 400 and 800`."""
    found: list[str] = []
    for key in MUST_AGREE:
        found += _differences(key, a.identity.get(key), b.identity.get(key))
    if a.repeats != b.repeats:
        found.append(f"repeats: {a.repeats} and {b.repeats}")
    return found


def require_comparable(a: SuiteRun, b: SuiteRun) -> None:
    """BadInput that says in what two runs differ."""
    if found := differences(a, b):
        raise BadInput(f"{a.folder} and {b.folder} cannot be compared, they differ in {'; '.join(found)}; "
                       "evaluate both with the same settings")


def matched(run_a: Path, run_b: Path) -> list[tuple[SuiteRun, SuiteRun]]:
    """Pairs of comparable runs, one for each suite that both folders hold.

    Raises:
        BadInput: no suite in common, several models on one side, or runs that are not alike.
    """
    left, right = _by_suite(run_a), _by_suite(run_b)
    shared = [name for name in left if name in right]
    if not shared:
        raise BadInput(f"no suite in common: {run_a} holds {', '.join(left)}, {run_b} holds {', '.join(right)}")
    for name in shared:
        require_comparable(left[name], right[name])
    return [(left[name], right[name]) for name in shared]


def _by_suite(folder: Path) -> dict[str, SuiteRun]:
    runs = read_run(folder)
    found = {run.suite: run for run in runs}
    if len(found) < len(runs):
        models = ", ".join(sorted({run.model for run in runs}))
        raise BadInput(f"{folder} holds several models ({models}); name one model's folder, SUITE/MODEL")
    return found


def _differences(key: str, a: Any, b: Any) -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return [line for part in sorted({*a, *b}) for line in _differences(f"{key}.{part}", a.get(part), b.get(part))]
    return [] if a == b else [f"{key}: {str(a)[:_SHOWN]} and {str(b)[:_SHOWN]}"]
