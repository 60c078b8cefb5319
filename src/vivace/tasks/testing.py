"""Running the tests of a task: cold, which is what a pass is granted by, or warm, which is fast."""

from __future__ import annotations

from collections.abc import Sequence

from vivace.core.types import Task, TestSpec
from vivace.sandbox import ExecLimits, WarmTests, Workspace
from vivace.sandbox.testrun import TestReport, run_pytest, run_unittest
from vivace.sandbox.warm import Tree
from vivace.tasks.layers import Layer

PATIENCE = 4


def run_tests(task: Task, layer: Layer, workspace: Workspace, *, canary: bool) -> TestReport:
    """FAIL_TO_PASS and PASS_TO_PASS of a task, cold, as its `TestSpec` says."""
    ids, spec = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS], task.test
    # What loops is stopped by its processor time: on a starved machine a wall clock would fail honest patches.
    limits = ExecLimits(wall_s=spec.timeout_s * PATIENCE, cpu_s=spec.timeout_s)
    if spec.runner == "unittest":
        return run_unittest(workspace, layer.python, ids, start=test_root(spec), limits=limits, canary=canary)
    return run_pytest(workspace, layer.python, ids, limits=limits, extra_args=spec.args, canary=canary)


def run_warm(pool: WarmTests, spec: TestSpec, tree: Tree, ids: Sequence[str], *, canary: bool,
             cpu_s: float | None = None) -> TestReport:
    """Some tests of a task's package (none: the whole suite) in a warm sandbox: fast, but no ground for a pass."""
    limits = ExecLimits(wall_s=spec.timeout_s, cpu_s=cpu_s)
    if spec.runner == "unittest":
        return pool.run_unittest(tree, ids, start=test_root(spec), limits=limits, canary=canary)
    return pool.run_pytest(tree, ids, limits=limits, extra_args=spec.args, canary=canary)


def test_root(spec: TestSpec) -> str:
    """Where unittest's discovery begins."""
    return spec.args[0] if spec.args else "tests"
