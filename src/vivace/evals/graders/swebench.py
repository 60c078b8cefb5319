"""SWE-bench's own log parsers and verdict, from the `swebench` package, without the runner that comes with it.

Only its parsing is loaded: the runner imports docker, modal and datasets.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.wheels import Wheel, unpacked

_HARNESS = "swebench.harness"
PACKAGE = Wheel("swebench", "5.0.2", "b7f0416a1e686eca22c2f749b5f816685a202835032f6683080e2b53545bbb62", ("swebench/",))


def report(row: Mapping[str, Any], patch: str, log: str) -> dict[str, Any]:
    """Upstream's report on the log of an evaluation script: `resolved`, `patch_successfully_applied`, `tests_status`.

    Raises:
        BadInput: there is no such parser.
        InfraError: the package cannot be fetched.
    """
    grading = _grading()
    if row["log_parser"] not in grading.PARSER_REGISTRY:
        raise BadInput(f"{PACKAGE.pin} has no parser {row['log_parser']!r}; the row is of a later version")
    spec = import_module("swebench.types").TestSpec(
        instance_id=row["instance_id"], image=row.get("image") or "", eval_script_list=[], repo=row["repo"],
        version=str(row.get("version") or ""), FAIL_TO_PASS=list(row["FAIL_TO_PASS"]),
        PASS_TO_PASS=list(row["PASS_TO_PASS"]), log_parser=row["log_parser"],
        eval_type=row.get("eval_type") or "pass_and_fail")
    prediction = {"instance_id": row["instance_id"], "model_name_or_path": "", "model_patch": patch or None}
    with tempfile.TemporaryDirectory(prefix="vivace-log-") as folder:
        path = Path(folder) / "test_output.txt"
        path.write_text(log, encoding="utf-8", errors="replace")
        found: dict[str, Any] = grading.get_eval_report(spec, prediction, str(path), True)[row["instance_id"]]
    return found


def resolved_by_names(passed: Sequence[str], wanted: Sequence[str]) -> bool:
    """SWE-bench Pro's verdict: every test of the two lists passed, by name."""
    return bool(wanted) and set(wanted) <= set(passed)


def identity() -> dict[str, str]:
    """Version of the package that verdicts are from."""
    return {"swebench": PACKAGE.version}


@functools.cache
def _grading() -> Any:
    folder = unpacked(PACKAGE)
    if _HARNESS not in sys.modules:
        # Stand-ins for the packages' own __init__, of which the harness's imports the runner.
        for name in ("swebench", _HARNESS):
            package = ModuleType(name)
            package.__path__ = [str(folder / name.replace(".", "/"))]
            sys.modules[name] = package
    try:
        return import_module(f"{_HARNESS}.grading")
    except ImportError as error:
        raise BadInput(f"SWE-bench's parsers need another package ({error}): pip install 'vivace[eval]'") from None
