"""SWE-bench Pro, the public rows: run_script.sh and parser.py of each instance, from `run_scripts` beside the data."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Grade
from vivace.evals import containers
from vivace.evals.graders.swebench import resolved_by_names
from vivace.evals.suites import issues, trees
from vivace.evals.suites.base import Info, Suite
from vivace.evals.suites.issues import Issue
from vivace.evals.suites.rows import need, rows
from vivace.sandbox import Sandbox

PROMPT = "{problem_statement}\n\nRequirements:\n{requirements}\n\nNew interfaces introduced:\n{interface}"
_IMAGE = re.compile(r"/app\b|\bconda\b")
_FIELDS = ("instance_id", "repo", "base_commit", "patch", "problem_statement", "fail_to_pass", "pass_to_pass",
           "selected_test_files_to_run")
_RUN = """set -u
{before}
mkdir -p .vivace-run
bash run_script.sh {files} > .vivace-run/stdout.log 2> .vivace-run/stderr.log
python parser.py .vivace-run/stdout.log .vivace-run/stderr.log .vivace-run/output.json
"""
_IN_IMAGE = """cd /app
{before}
bash /vivace/run_script.sh {files} > /vivace/stdout.log 2> /vivace/stderr.log
python /vivace/parser.py /vivace/stdout.log /vivace/stderr.log /vivace/output.json
"""


def load(path: Path) -> list[Issue]:
    """Fields as in `_FIELDS`, requirements, interface, before_repo_set_cmd; lists are Python literals in strings."""
    repos, found = trees.place_of(path), []
    scripts = (path if path.is_dir() else path.parent) / "run_scripts"
    for row in rows(path):
        instance, repo, commit, *_ = need(row, *_FIELDS)
        row = {**row, **{name: literal(row[name]) for name in _FIELDS[-3:]},
               **{name: (scripts / instance / name).read_text() if (scripts / instance / name).exists() else ""
                  for name in ("run_script.sh", "parser.py")}}
        told = {name: row.get(name) or "none" for name in ("requirements", "interface")}
        prompt = PROMPT.format(problem_statement=row["problem_statement"], **told)
        found.append(Issue(id=f"swebench-pro/{instance}", cluster=repo, prompt=prompt, row=row,
                           tree=trees.tree(repos, instance, repo, commit)))
    return found


def literal(value: Any) -> list[str]:
    """A list, also where it is written as a Python or JSON literal; never evaluated as code."""
    try:
        found = ast.literal_eval(value) if isinstance(value, str) else value
    except (SyntaxError, ValueError):
        found = None
    if not isinstance(found, list):
        raise BadInput(f"{str(value)[:60]!r} is no list of names; is it the data file of SWE-bench Pro?")
    return [str(one) for one in found]


def grade(item: Issue, patch: str, sandbox: Sandbox) -> Grade:
    """Every test of both lists has to pass by name."""
    row = item.row
    if not row["run_script.sh"] or not row["parser.py"]:
        return Grade(status="invalid", detail=f"no run_scripts/{row['instance_id']} beside the data; take the folder "
                                              "from scaleapi/SWE-bench_Pro-os")
    before = (row.get("before_repo_set_cmd") or "").strip().split("\n")[-1]
    files = " ".join(map(shlex.quote, row["selected_test_files_to_run"]))
    if _IMAGE.search(before + row["run_script.sh"]):
        image = f"docker.io/jefzda/sweap-images:{row.get('dockerhub_tag')}"
        if containers.engine() is None or not row.get("dockerhub_tag"):
            return Grade(status="invalid", detail=f"it needs the image {image}, and no container engine answers here; "
                                                  "grade predictions.jsonl upstream")
        scripts = {name: row[name] for name in ("run_script.sh", "parser.py")}
        held = issues.in_image(image, "/app", _without_binary(patch), _IN_IMAGE.format(before=before, files=files),
                               files=scripts, result="/vivace/output.json",
                               prepare=f"git reset -q --hard && git checkout -q {shlex.quote(row['base_commit'])}")
        return verdict(row, held[1], held[0]) if held else Grade(status="failed", detail="the patch does not apply")
    try:
        with issues.patched(item, patch, sandbox) as workspace:
            for name in ("run_script.sh", "parser.py"):
                workspace.write_text(name, row[name])
            log = issues.script(workspace, _RUN.format(before=before, files=files))
            output = workspace.read_text(".vivace-run/output.json") if workspace.exists(
                ".vivace-run/output.json") else ""
    except BadInput as error:
        return Grade(status="failed", detail=f"the patch does not apply: {error}"[:200])
    return verdict(row, output, log)


def _without_binary(patch: str) -> str:
    """The patch without its binary files, as upstream applies it."""
    parts = re.split(r"(?m)^(?=diff --git )", patch)
    return "".join(part for part in parts if "\nGIT binary patch" not in part and "\nBinary files " not in part)


def verdict(row: dict[str, Any], output: str, log: str = "") -> Grade:
    """From the parser's output.json, {tests: [{name, status}]}; none is a failure, as upstream."""
    try:
        passed = [test["name"] for test in json.loads(output)["tests"] if test["status"] == "PASSED"]
    except (ValueError, KeyError, TypeError):
        return Grade(status="failed", detail=f"no result of the tests: {log.strip()[-120:]}")
    wanted = [*row["fail_to_pass"], *row["pass_to_pass"]]
    held = len(set(wanted) & set(passed))
    return Grade(status="solved" if resolved_by_names(passed, wanted) else "failed",
                 detail=f"{held} of {len(wanted)} tests", scores={"tests": held / len(wanted) if wanted else 0.0})


SUITE = Suite(
    Info(name="swebench-pro", title="SWE-bench Pro", items="731 public",
         source="ScaleAI/SWE-bench_Pro and run_scripts of scaleapi/SWE-bench_Pro-os",
         licence="MIT; the repositories are under copyleft licences", repeats=3,
         metric="share of issues whose tests all pass", engine="container", clustered=True,
         sandboxed=True, grader={"version": "1", "verdict": "fail_to_pass and pass_to_pass among PASSED names",
                                 "eval_seconds": issues.EVAL_SECONDS},
         notes="The repository holds scripts for more instances than are public: the rows decide."),
    load, session=issues.session(grade), harness=issues.harness, found=issues.found, files=issues.predictions,
    check=issues.checked(load, grade),
)
