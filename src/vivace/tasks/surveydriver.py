"""Runs *inside* the sandbox, as a script: a whole suite once, with what each test executed, its outcome and its time.

It imports nothing of Vivace. Reads one JSON request from standard input: {"runner", "args", "targets", "start",
"sources", "cover", "result"}; writes {"tests": [[id, outcome, seconds]], "lines": {path: {line: [test numbers]}}} to
the file `result`. Contexts are switched once a test (set-up and tear-down included), so that a line is known by whole
test ids, parameters and all.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

WORSE = ("passed", "skipped", "failed", "error")


class Recorder:
    """Notes outcomes and times; also a pytest plugin."""

    def __init__(self, cover: Any) -> None:
        self.cover = cover
        self.outcomes: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.begun = 0.0

    def begin(self, test_id: str) -> None:
        self.begun = time.perf_counter()
        if self.cover:
            self.cover.switch_context(test_id)

    def note(self, test_id: str, outcome: str) -> None:
        before = self.outcomes.get(test_id, "passed")
        self.outcomes[test_id] = max(before, outcome, key=WORSE.index)

    def end(self, test_id: str) -> None:
        self.seconds[test_id] = round(time.perf_counter() - self.begun, 5)
        if self.cover:
            self.cover.switch_context("")

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self.begin(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.failed or report.skipped:
            self.note(report.nodeid, "error" if report.failed and report.when != "call" else report.outcome)

    def pytest_runtest_logfinish(self, nodeid: str, location: Any) -> None:
        self.end(nodeid)


def run_pytest(request: dict[str, Any], recorder: Recorder) -> None:
    import pytest

    fixed = ["--rootdir=.", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-q", "--tb=no"]
    pytest.main([*fixed, "--continue-on-collection-errors", *request["args"], *request["targets"]], plugins=[recorder])


def run_unittest(request: dict[str, Any], recorder: Recorder) -> None:
    import unittest

    class Result(unittest.TestResult):
        def startTest(self, test: unittest.TestCase) -> None:
            super().startTest(test)
            recorder.begin(test.id())

        def stopTest(self, test: unittest.TestCase) -> None:
            super().stopTest(test)
            recorder.end(test.id())

        def addSuccess(self, test: unittest.TestCase) -> None:
            recorder.note(test.id(), "passed")

        def addFailure(self, test: unittest.TestCase, error: Any) -> None:
            recorder.note(test.id(), "failed")

        def addError(self, test: unittest.TestCase, error: Any) -> None:
            recorder.note(test.id(), "error")

        def addSkip(self, test: unittest.TestCase, reason: str) -> None:
            recorder.note(test.id(), "skipped")

        def addExpectedFailure(self, test: unittest.TestCase, error: Any) -> None:
            recorder.note(test.id(), "skipped")

        def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
            recorder.note(test.id(), "failed")

        def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, error: Any) -> None:
            if error is not None:
                recorder.note(test.id(), "failed")

    sys.path.insert(0, os.path.abspath(request["start"]))
    unittest.TestLoader().discover(request["start"], top_level_dir=request["start"]).run(Result())


def lines_by_test(cover: Any, numbers: dict[str, int], sources: list[str]) -> dict[str, dict[int, list[int]]]:
    found = {}
    data = cover.get_data()
    for path in data.measured_files():
        rel = os.path.relpath(path)
        if not any(rel == top or rel.startswith(top + "/") for top in sources):
            continue
        lines = {}
        for line, contexts in data.contexts_by_lineno(path).items():
            tests = sorted(numbers[name] for name in contexts if name in numbers)
            if tests:
                lines[line] = tests
        found[rel] = lines
    return found


def main() -> None:
    request = json.load(sys.stdin)
    sys.path[0] = os.getcwd()
    sys.argv = [request["runner"]]
    cover = None
    if request["cover"]:
        import coverage

        roots = [os.path.abspath(folder) for folder in request["roots"]]
        cover = coverage.Coverage(data_file=None, config_file=False, source=roots)
        cover.start()
    recorder = Recorder(cover)
    {"pytest": run_pytest, "unittest": run_unittest}[request["runner"]](request, recorder)
    tests = sorted(recorder.outcomes)
    lines: dict[str, dict[int, list[int]]] = {}
    if cover:
        cover.stop()
        lines = lines_by_test(cover, {name: number for number, name in enumerate(tests)}, request["sources"])
    rows = [[name, recorder.outcomes[name], recorder.seconds.get(name, 0.0)] for name in tests]
    with open(request["result"], "w") as file:
        json.dump({"tests": rows, "lines": lines}, file, separators=(",", ":"))
    os._exit(0)  # threads that tests left running must not keep the process


if __name__ == "__main__":
    main()
