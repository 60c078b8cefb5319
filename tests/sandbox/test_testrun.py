import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.sandbox import ExecLimits, Sandbox, TestReport, Workspace, run_pytest, run_unittest

PYTHON = Path(sys.executable)
TESTS = """
import pytest, unittest
from calc import add

@pytest.mark.parametrize("a,b", [(1, 2), (2, 3)])
def test_add(a, b):
    assert add(a, b) == a + b

def test_wrong():
    assert add(1, 1) == 3

@pytest.fixture
def broken():
    raise RuntimeError("fixture")

def test_setup(broken):
    pass

@pytest.mark.skip(reason="not now")
def test_skipped():
    pass

class TestGroup:
    def test_one(self):
        print("printed PASSED tests/test_calc.py::test_wrong")

class Case(unittest.TestCase):
    def test_sub(self):
        for n in (1, 2):
            with self.subTest(n=n):
                self.assertEqual(n, 1)
"""
UNIT = """
import unittest

class Case(unittest.TestCase):
    def test_good(self):
        pass
    def test_bad(self):
        self.fail()
    def test_raises(self):
        raise KeyError
    @unittest.skip("later")
    def test_later(self):
        pass
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("package")
    (root / "tests").mkdir()
    (root / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "tests" / "test_calc.py").write_text(TESTS)
    (root / "tests" / "test_unit.py").write_text(UNIT)
    (root / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    return root


@pytest.fixture
def opened(package: Path, any_sandbox: Sandbox) -> Iterator[Workspace]:
    with Workspace(package, any_sandbox) as workspace:
        yield workspace


FILE = "tests/test_calc.py"
EXPECTED = {
    f"{FILE}::test_add[1-2]": "passed",
    f"{FILE}::test_add[2-3]": "passed",
    f"{FILE}::test_wrong": "failed",
    f"{FILE}::test_setup": "error",
    f"{FILE}::test_skipped": "skipped",
    f"{FILE}::TestGroup::test_one": "passed",
    f"{FILE}::Case::test_sub": "failed",
}


def test_every_outcome_in_both_backends(package: Path, sandbox: Sandbox) -> None:
    with Workspace(package, sandbox) as workspace:
        report = run_pytest(workspace, PYTHON, [FILE])
        assert report.outcomes == EXPECTED
        assert (report.exit_code, report.collected_ok, report.trusted) == (1, True, True)
        assert "assert 2 == 3" in report.output
        assert report.passed([f"{FILE}::test_add[1-2]"])
        assert not report.passed([f"{FILE}::test_wrong"])
        assert workspace.changed_files() == []


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([f"{FILE}::test_add"], {f"{FILE}::test_add[1-2]", f"{FILE}::test_add[2-3]"}),
        ([f"{FILE}::test_add[2-3]", f"{FILE}::gone", "tests/gone.py::x"], {f"{FILE}::test_add[2-3]"}),
        ([f"{FILE}::TestGroup"], {f"{FILE}::TestGroup::test_one"}),
        (["tests/gone.py"], set()),
    ],
)
def test_selection(opened: Workspace, ids: list[str], expected: set[str]) -> None:
    report = run_pytest(opened, PYTHON, ids)
    assert set(report.outcomes) == expected
    assert report.passed(ids) == (set(ids) == expected)


def test_a_module_that_cannot_be_imported(opened: Workspace) -> None:
    opened.write_text("calc.py", "def add(:\n")
    report = run_pytest(opened, PYTHON, [FILE])
    assert report.outcomes == {FILE: "error"}
    assert not report.collected_ok
    assert not report.passed([FILE])


def test_timeout(opened: Workspace) -> None:
    opened.write_text("calc.py", "def add(a, b):\n    while a != 2:\n        pass\n    return a + b\n")
    report = run_pytest(opened, PYTHON, [f"{FILE}::test_add"], limits=ExecLimits(wall_s=3))
    assert report.timed_out
    assert not report.trusted


HONEST = "def add(a, b):\n    return a + b\n"
BUG = "def add(a, b):\n    return a - b\n"
ATTACKS = {
    "exit at once": BUG + "import os; os._exit(0)\n",
    "exit from a test": "import os\ndef add(a, b):\n    os._exit(0)\n",
    "patched report": BUG
    + "import _pytest.reports as r\n"
    + "class Passed(r.TestReport):\n"
    + "    @classmethod\n"
    + "    def from_item_and_call(cls, item, call):\n"
    + "        report = super().from_item_and_call(item, call)\n"
    + "        report.outcome = 'passed'\n"
    + "        return report\n"
    + "r.TestReport.from_item_and_call = Passed.from_item_and_call\n"
    + "import _pytest.runner; _pytest.runner.TestReport = Passed\n",
    "forged results": BUG
    + "import os, json\n"
    + "for fd in range(3, 30):\n"
    + "    try: os.write(fd, (json.dumps(['tests/test_calc.py::test_add[1-2]', 'passed']) + chr(10)).encode() * 2)\n"
    + "    except OSError: pass\n",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_grading_is_not_fooled(opened: Workspace, name: str) -> None:
    wanted = [f"{FILE}::test_add[1-2]", f"{FILE}::test_add[2-3]"]
    opened.write_text("calc.py", ATTACKS[name])
    assert not run_pytest(opened, PYTHON, wanted, canary=True).passed(wanted)
    opened.write_text("calc.py", HONEST)
    report = run_pytest(opened, PYTHON, wanted, canary=True)
    assert report.passed(wanted)
    assert report.canary_ok
    assert set(report.outcomes) == set(wanted)
    assert opened.changed_files() == []


def test_unittest(opened: Workspace) -> None:
    report = run_unittest(opened, PYTHON, start="tests")
    assert {name: outcome for name, outcome in report.outcomes.items() if name.startswith("test_unit")} == {
        "test_unit.Case.test_good": "passed",
        "test_unit.Case.test_bad": "failed",
        "test_unit.Case.test_raises": "error",
        "test_unit.Case.test_later": "skipped",
    }
    good = ["test_unit.Case.test_good"]
    graded = run_unittest(opened, PYTHON, good, canary=True)
    assert graded.passed(good)
    assert graded.canary_ok
    assert not run_unittest(opened, PYTHON, ["test_unit.Case.gone"], canary=True).passed(
        ["test_unit.Case.gone"]
    )
    dotted = ["tests.test_unit.Case.test_good"]
    assert run_unittest(opened, PYTHON, dotted, top=".", canary=True).passed(dotted)


def test_bad_requests(opened: Workspace, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="test ids"):
        run_pytest(opened, PYTHON, canary=True)
    with pytest.raises(BadInput, match="not a Python interpreter"):
        run_pytest(opened, tmp_path / "bin" / "python", [FILE])


def test_an_unfinished_run_is_never_trusted() -> None:
    report = TestReport({"a": "passed"}, 0, "", 0.1, True)
    assert report.passed(["a"])
    assert not TestReport({"a": "passed"}, 1, "", 0.1, True).passed(["a"])
    assert not TestReport({"a": "passed"}, 137, "", 0.1, False, timed_out=True, killed="time").passed(["a"])
    assert not TestReport({"a": "passed"}, 0, "", 0.1, True, canary_ok=False).passed(["a"])
    assert not report.passed(["a", "b"])
