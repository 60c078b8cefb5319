import errno
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vivace.core.errors import SandboxError
from vivace.sandbox import ExecLimits, Sandbox, WarmTests, Workspace, run_pytest
from vivace.sandbox import warm as warm_module

PYTHON = Path(sys.executable)
TESTS = """
import os, unittest
from pathlib import Path
from calc import add

def test_add():
    assert add(1, 2) == 3

def test_alone():
    assert not os.path.exists("left") and not os.path.exists("/tmp/left")
    Path("left").touch()
    Path("tests/test_calc.py").write_text("")

class Case(unittest.TestCase):
    def test_one(self):
        pass
"""
GOOD = "def add(a, b):\n    return a + b\n"
FILE = "tests/test_calc.py"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("package")
    (root / "tests").mkdir()
    (root / "calc.py").write_text(GOOD)
    (root / FILE).write_text(TESTS)
    return root


@pytest.fixture(scope="module")
def warm(package: Path, sandbox: Sandbox) -> Iterator[WarmTests]:
    with WarmTests(lambda: Workspace(package, sandbox), PYTHON, limits=ExecLimits(memory_mb=512)) as pool:
        yield pool


@pytest.fixture
def workspace(package: Path, sandbox: Sandbox) -> Iterator[Workspace]:
    with Workspace(package, sandbox) as opened:
        yield opened


def test_agrees_with_a_cold_run_and_leaves_no_trace(warm: WarmTests, workspace: Workspace) -> None:
    assert run_pytest(workspace, PYTHON, [f"{FILE}::test_add"]).passed([f"{FILE}::test_add"])
    for _ in range(3):  # what the tests left must be gone each time
        report = warm.run_pytest(workspace)
        assert set(report.outcomes.values()) == {"passed"}
        assert len(report.outcomes) == 3
        assert report.trusted
    assert workspace.changed_files() == []


def test_sees_the_workspace_as_it_is(warm: WarmTests, package: Path, sandbox: Sandbox) -> None:
    planted = {"calc.py": b"def add(a, b):\n    return a - b\n"}
    wanted = [f"{FILE}::test_add"]
    with Workspace(package, sandbox, overlay=planted) as workspace:
        report = warm.run_pytest(workspace, wanted)
        assert report.outcomes == {wanted[0]: "failed"}
        assert "assert -1 == 3" in report.output
        workspace.write_text("calc.py", GOOD)
        assert warm.run_pytest(workspace, wanted).passed(wanted)
        assert warm.run_pytest(workspace, wanted, canary=True).passed(wanted)
        workspace.delete("calc.py")
        assert not warm.run_pytest(workspace, wanted).collected_ok
    with Workspace(package, sandbox) as workspace:
        assert warm.run_pytest(workspace, wanted).passed(wanted)


def test_rewritten_modules_are_kept_only_while_they_are_as_they_were(
    warm: WarmTests, package: Path, sandbox: Sandbox
) -> None:
    test = f"{FILE}::test_add"
    with Workspace(package, sandbox) as workspace:
        workspace.write_text("calc.py", "def add(a, b):\n    return a - b\n")
        for _ in range(2):
            failed = warm.run_pytest(workspace, [test])
            assert failed.outcomes == {test: "failed"}
            assert "assert -1 == 3" in failed.output, "assertions are explained, from the kept module too"
        workspace.write_text(FILE, "def test_add():\n    pass\n")
        assert warm.run_pytest(workspace, [test]).outcomes == {test: "passed"}
    with Workspace(package, sandbox) as workspace:
        workspace.write_text(FILE, "def test_add(:\n")
        broken = warm.run_pytest(workspace, [test])
        assert broken.outcomes == {FILE: "error"}
        assert "SyntaxError" in broken.output
    with Workspace(package, sandbox) as workspace:
        assert warm.run_pytest(workspace, [f"{FILE}::Case"]).outcomes == {f"{FILE}::Case::test_one": "passed"}


def test_unittest(warm: WarmTests, workspace: Workspace) -> None:
    report = warm.run_unittest(workspace, ["tests.test_calc.Case"], top=".")
    assert report.passed(["tests.test_calc.Case.test_one"])


@pytest.mark.parametrize(
    ("body", "killed"),
    [
        ("while True: pass", "time"),
        ("import os; os.kill(-1, 9)", "server"),
        ("any(os.fork() == 0 for _ in range(9)); x = b'1' * (80 << 20); time.sleep(200)", "memory"),
        ("while True: os.write(1, bytes(65536))", "output"),
    ],
)
def test_a_run_that_goes_wrong_does_not_spoil_the_next(
    warm: WarmTests, workspace: Workspace, body: str, killed: str
) -> None:
    workspace.write_text("calc.py", f"import os, time\ndef add(a, b):\n    {body}\n")
    arguments = ["-s"]  # pytest's capture would hold the flood in a file
    limits = ExecLimits(wall_s=1.5 if killed == "time" else 180)
    report = warm.run_pytest(workspace, [f"{FILE}::test_add"], limits=limits, extra_args=arguments)
    assert report.killed == killed
    assert report.timed_out == (killed == "time")
    assert not report.trusted
    workspace.write_text("calc.py", GOOD)
    assert warm.run_pytest(workspace, [f"{FILE}::test_add"]).passed([f"{FILE}::test_add"])


def test_what_loops_is_stopped_by_its_processor_time(warm: WarmTests, workspace: Workspace) -> None:
    workspace.write_text("calc.py", "def add(a, b):\n    while True: pass\n")
    report = warm.run_pytest(workspace, [f"{FILE}::test_add"], limits=ExecLimits(wall_s=120, cpu_s=1))
    assert (report.exit_code, report.timed_out, report.trusted) == (137, False, False)
    assert report.duration_s < 60
    workspace.write_text("calc.py", GOOD)
    assert warm.run_pytest(workspace, [f"{FILE}::test_add"]).passed([f"{FILE}::test_add"])


def test_daemons_of_one_run_do_not_reach_the_next(warm: WarmTests, workspace: Workspace) -> None:
    daemon = """
import os, time
def add(a, b):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                open("calc.py", "w").close()
                time.sleep(0.001)
        os._exit(0)
    return a + b
"""
    for source in (daemon, GOOD, GOOD):
        workspace.write_text("calc.py", source)
        assert warm.run_pytest(workspace, [f"{FILE}::test_add"]).passed([f"{FILE}::test_add"])


def test_many_threads(warm: WarmTests, package: Path, sandbox: Sandbox) -> None:
    def attempt(number: int) -> str:
        with Workspace(package, sandbox) as workspace:
            workspace.write_text("calc.py", f"def add(a, b):\n    return {number % 5}\n")
            return warm.run_pytest(workspace, [f"{FILE}::test_add"]).outcomes[f"{FILE}::test_add"]

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(10)))
    assert outcomes == ["passed" if number % 5 == 3 else "failed" for number in range(10)]


def test_a_server_that_cannot_start_is_infrastructure(
    package: Path, any_sandbox: Sandbox, tmp_path: Path
) -> None:
    prefix = tmp_path / "env"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "pyvenv.cfg").write_text("")
    (prefix / "bin" / "python").write_text("#!/bin/sh\necho no interpreter here\n")
    (prefix / "bin" / "python").chmod(0o755)
    tmp_path.chmod(0o755)
    with (
        WarmTests(lambda: Workspace(package, any_sandbox), prefix / "bin" / "python") as pool,
        Workspace(package, any_sandbox) as workspace,
        pytest.raises(SandboxError, match="did not start: no interpreter here"),
    ):
        pool.run_pytest(workspace, [FILE])


@pytest.mark.parametrize(
    ("error", "words"), [(OSError(errno.EMFILE, "Too many open files"), "open files"), (TimeoutError(), "TimeoutError")]
)
def test_what_the_machine_refuses_is_infrastructure(
    package: Path, any_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def refuse(*args: object) -> None:
        raise error

    with (
        WarmTests(lambda: Workspace(package, any_sandbox), PYTHON) as pool,
        Workspace(package, any_sandbox) as workspace,
    ):
        monkeypatch.setattr(warm_module._Slot, "_gather", refuse)
        with pytest.raises(SandboxError, match=words):
            pool.run_pytest(workspace, [FILE])
        monkeypatch.undo()
        assert pool.run_pytest(workspace, [f"{FILE}::test_add"]).passed([f"{FILE}::test_add"])
