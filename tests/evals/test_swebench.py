"""The SWE-bench suites without their sandbox: rows, trees, verdicts, predictions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attempts_by_hand import make_attempt
from test_harbor import IMAGE, has_image

from vivace.core.errors import BadInput
from vivace.evals import containers
from vivace.evals.status import shipped
from vivace.evals.suites import get_suite, issues, swebench, swebench_pro, trees
from vivace.sandbox import open_sandbox

LOG = """+ : '>>>>> Start Test Output'
PASSED tests/test_a.py::test_one
{two} tests/test_a.py::test_two
>>>>> End Test Output
>>>>> Test Exit Code: {code}
"""
ROW: dict[str, Any] = {"instance_id": "o__r-1", "repo": "o/r", "image": "", "log_parser": "parse_log_pytest",
                       "FAIL_TO_PASS": ["tests/test_a.py::test_two"], "PASS_TO_PASS": ["tests/test_a.py::test_one"]}


@pytest.mark.parametrize(("two", "code", "status"), [
    ("PASSED", 0, "solved"), ("FAILED", 1, "failed"), ("SKIPPED", 0, "failed"),
    ("PASSED", 1, "failed"),  # a log that only claims success
])  # fmt: skip
def test_the_verdict_is_upstreams(two: str, code: int, status: str) -> None:
    found = swebench.verdict(ROW, "diff", LOG.format(two=two, code=code).replace("'>>>>> Start Test Output'",
                                                                               ">>>>> Start Test Output"))
    assert found.status == status
    assert swebench.verdict(ROW, "diff", "nothing ran").status == "failed"
    with pytest.raises(BadInput, match="no parser 'parse_log_mine'"):
        swebench.verdict({**ROW, "log_parser": "parse_log_mine"}, "diff", "")


def test_rows_that_need_their_image_have_no_verdict_without_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "engine", lambda: None)
    item = get_suite("swebench-verified").load(shipped("swebench-verified"))[0]
    real = item.model_copy(update={"row": {**item.row, "image": "swebench/x", "eval_script": "conda activate testbed"}})
    grade = swebench.grader("verified")
    found = grade(real, "", open_sandbox())
    assert found.status == "invalid"
    assert "swebench eval verified -p predictions.jsonl" in found.detail
    old = item.model_copy(update={"row": {**item.row, "eval_script": None}})
    assert grade(old, "", open_sandbox()).status == "invalid"


SCRIPT = """: conda activate testbed
cd /testbed
echo '>>>>> Start Test Output'
for name in one two; do if grep -q "$name" words.txt; then echo "PASSED tests/test_a.py::test_$name"; fi; done
echo '>>>>> End Test Output'
echo '>>>>> Test Exit Code: 0'
"""


@pytest.mark.slow
@pytest.mark.skipif(not has_image(), reason=f"no container engine with {IMAGE}")
def test_rows_that_need_their_image_are_graded_in_it(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one\n")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY words.txt /testbed/\nWORKDIR /testbed\n")
    image = containers.build(tmp_path, "vivace-test-swe", 300)
    item = get_suite("swebench-verified").load(shipped("swebench-verified"))[0]
    real = item.model_copy(update={"row": {**item.row, **ROW, "image": image, "eval_script": SCRIPT}})
    grade = swebench.grader("verified")
    patch = "--- a/words.txt\n+++ b/words.txt\n@@ -1 +1,2 @@\n one\n+two\n"
    assert grade(real, patch, open_sandbox()).status == "solved"
    assert grade(real, "", open_sandbox()).status == "failed"
    assert grade(real, patch.replace("words", "none"), open_sandbox()).detail == swebench.UNFIT


def test_binary_parts_of_a_patch_are_left_out() -> None:
    text = "diff --git a/x b/x\n+1\n"
    binary = "diff --git a/y b/y\nGIT binary patch\nliteral 3\n"
    assert swebench_pro._without_binary(f"{text}{binary}{text}") == text * 2


def test_a_tree_is_exported_from_a_clone_without_later_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    clone = tmp_path / "repos" / "o__r"
    clone.mkdir(parents=True)

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@x")
        return subprocess.run(["git", "-C", str(clone), *identity, *arguments], check=True, capture_output=True,
                              text=True).stdout.strip()

    git("init", "-q")
    for text in ("broken", "fixed"):
        (clone / "a.py").write_text(text)
        git("add", "-A")
        git("commit", "-qm", text)
    found = trees.tree(tmp_path / "repos", "o__r-1", "o/r", git("rev-parse", "HEAD~1"))
    assert [path.name for path in found.iterdir()] == ["a.py"]
    assert (found / "a.py").read_text() == "broken"
    with pytest.raises(BadInput, match="fetch it there"):
        trees.tree(tmp_path / "repos", "o__r-1", "o/r", "0" * 40)
    with pytest.raises(BadInput, match=r"clone https://github\.com/p/q there"):
        trees.tree(tmp_path / "repos", "p__q-1", "p/q", "0" * 40)


def test_pro_asks_for_every_test_by_name() -> None:
    row = {"fail_to_pass": ["a"], "pass_to_pass": ["b"]}

    def verdict(**statuses: str) -> str:
        tests = [{"name": name, "status": status} for name, status in statuses.items()]
        return swebench_pro.verdict(row, json.dumps({"tests": tests})).status

    assert verdict(a="PASSED", b="PASSED", c="FAILED") == "solved"
    assert verdict(a="PASSED", b="SKIPPED") == "failed"
    assert verdict(a="PASSED") == "failed"
    assert swebench_pro.verdict(row, "").status == "failed"
    assert swebench_pro.literal("['x', \"y\"]") == ["x", "y"]
    with pytest.raises(BadInput, match="no list of names"):
        swebench_pro.literal("__import__('os')")


def test_predictions_are_upstreams_lines(tmp_path: Path) -> None:
    attempts = [make_attempt("swebench-verified/o__r-1"), make_attempt("swebench-verified/o__r-2", status="infra"),
                make_attempt("swebench-verified/o__r-1", sample=1)]
    issues.predictions(tmp_path, attempts)
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["instance_id"] for line in lines] == ["o__r-1"]
    assert set(lines[0]) == {"instance_id", "model_name_or_path", "model_patch"}
    assert lines[0]["model_patch"].startswith("--- a/pkg/mod.py")
