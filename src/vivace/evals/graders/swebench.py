"""SWE-bench's own log parsers and verdict, from the `swebench` package, without the runner that comes with it.

Only its parsing is loaded: the runner imports docker, modal and datasets. `pip install unidiff` and
`pip install --no-deps swebench==5.0.2` are enough.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from vivace.core.errors import BadInput

_HARNESS = "swebench.harness"
NEEDED = "SWE-bench is graded by its own parsers: pip install unidiff, and pip install --no-deps swebench==5.0.2"


def report(row: Mapping[str, Any], patch: str, log: str) -> dict[str, Any]:
    """Upstream's report on the log of an evaluation script: `resolved`, `patch_successfully_applied`, `tests_status`.

    Raises:
        BadInput: swebench is not installed, or has no such parser.
    """
    grading = _grading()
    if row["log_parser"] not in grading.PARSER_REGISTRY:
        raise BadInput(f"swebench {version('swebench')} has no parser {row['log_parser']!r}; install a newer one")
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
    _grading()
    return {"swebench": version("swebench")}


@functools.cache
def _grading() -> Any:
    found = find_spec("swebench")
    if found is None or not found.submodule_search_locations:
        raise BadInput(NEEDED)
    if _HARNESS not in sys.modules:
        package = ModuleType(_HARNESS)  # in place of the package's own __init__, which imports the runner
        package.__path__ = [str(Path(place) / "harness") for place in found.submodule_search_locations]
        sys.modules[_HARNESS] = package
    try:
        return import_module(f"{_HARNESS}.grading")
    except ImportError as error:
        raise BadInput(f"{NEEDED} ({error})") from None
