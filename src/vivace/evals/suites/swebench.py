"""SWE-bench Verified and Multilingual: rows as the hub has them since swebench 5, which carry their own eval_script."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Grade
from vivace.evals import containers
from vivace.evals.graders import swebench
from vivace.evals.suites import issues, trees
from vivace.evals.suites.base import Info, Suite
from vivace.evals.suites.issues import Issue
from vivace.evals.suites.rows import need, parsed, rows
from vivace.sandbox import Sandbox

_IMAGE = re.compile(r"/testbed\b|\bconda\b")
_FIELDS = ("instance_id", "repo", "base_commit", "patch", "problem_statement", "FAIL_TO_PASS", "PASS_TO_PASS")
OLD_ROW = ("a row without eval_script and log_parser (before swebench 5): take a later revision of the data, or grade "
           "predictions.jsonl upstream")
ELSEWHERE = ("its evaluation script needs the image {image}, and no container engine answers here; the patch is in "
             "predictions.jsonl: swebench eval {name} -p predictions.jsonl")
UNFIT = "the patch does not apply"


def loader(name: str) -> Callable[[Path], Sequence[Issue]]:
    def load(path: Path) -> list[Issue]:
        """Fields as in `_FIELDS`, eval_script, log_parser, eval_type, image; trees from `repos` beside the file."""
        repos, found = trees.place_of(path), []
        for row in rows(path):
            instance, repo, commit, _, statement, fail, hold = need(row, *_FIELDS)
            row = {**row, "FAIL_TO_PASS": parsed(fail), "PASS_TO_PASS": parsed(hold)}
            found.append(Issue(id=f"{name}/{instance}", cluster=repo, prompt=statement,
                               tree=trees.tree(repos, instance, repo, commit), row=row))
        return found

    return load


def grader(name: str) -> issues.GradePatch:
    def grade(item: Issue, patch: str, sandbox: Sandbox) -> Grade:
        """Upstream's verdict on the log of the row's script, run in its image, or in the sandbox if it needs none."""
        row = item.row
        if not row.get("eval_script") or not row.get("log_parser"):
            return Grade(status="invalid", detail=OLD_ROW)
        if _IMAGE.search(row["eval_script"]):
            if containers.engine() is None or not row.get("image"):
                return Grade(status="invalid", detail=ELSEWHERE.format(image=row.get("image"), name=name))
            held = issues.in_image(row["image"], "/testbed", patch, row["eval_script"])
            return verdict(row, patch, held[0]) if held else Grade(status="failed", detail=UNFIT)
        try:
            with issues.patched(item, patch, sandbox) as workspace:
                log = issues.script(workspace, row["eval_script"])
        except BadInput as error:
            return Grade(status="failed", detail=f"{UNFIT}: {error}"[:200])
        return verdict(row, patch, log)

    return grade


def verdict(row: dict[str, Any], patch: str, log: str) -> Grade:
    """A grade from upstream's report on a log."""
    found = swebench.report(row, patch or "\n", log)
    tests = found.get("tests_status", {})
    counts = {kind: (len(tests[kind]["success"]), len(tests[kind]["success"]) + len(tests[kind]["failure"]))
              for kind in ("FAIL_TO_PASS", "PASS_TO_PASS") if kind in tests}
    said = ", ".join(f"{kind} {good} of {whole}" for kind, (good, whole) in counts.items())
    return Grade(status="solved" if found["resolved"] else "failed", detail=said or "no test result in the log",
                 scores={kind: good / whole for kind, (good, whole) in counts.items() if whole})


def _suite(name: str, short: str, title: str, items: str, repeats: int, notes: str) -> Suite:
    load, grade = loader(name), grader(short)
    return Suite(
        Info(name=name, title=title, items=items, source=f"SWE-bench/SWE-bench_{title.split()[-1]}", licence="MIT",
             metric="share of issues resolved", engine="container", repeats=repeats,
             clustered=True, sandboxed=True,
             grader={"version": "1", "verdict": "swebench get_eval_report and log_parser",
                     "apply": "exact in the sandbox, upstream's four ways in an image",
                     "eval_seconds": issues.EVAL_SECONDS}, notes=notes),
        load, session=issues.session(grade), harness=issues.harness, files=issues.predictions,
        found=lambda: {**swebench.identity(), **issues.found()}, check=issues.checked(load, grade),
    )


SUITE = _suite("swebench-verified", "verified", "SWE-bench Verified", "500", 3, "Widely seen in training; some of its "
               "tests reject right fixes. A regression signal.")
MULTILINGUAL = _suite("swebench-multilingual", "multilingual", "SWE-bench Multilingual", "300, nine languages", 3,
                      "A score that is no multiple of 1/300 is a mean over repeats.")
