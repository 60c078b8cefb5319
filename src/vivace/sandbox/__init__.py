"""Isolation backends and workspaces: the only place where model-written or package code runs."""

from vivace.sandbox.backend import open_sandbox
from vivace.sandbox.limits import ExecLimits, ExecResult, Guarantees, Sandbox
from vivace.sandbox.patch import apply_patch, make_patch, undo_patch
from vivace.sandbox.testrun import TestReport, run_pytest, run_unittest
from vivace.sandbox.warm import WarmTests
from vivace.sandbox.workspace import Workspace

__all__ = [
    "ExecLimits",
    "ExecResult",
    "Guarantees",
    "Sandbox",
    "TestReport",
    "WarmTests",
    "Workspace",
    "apply_patch",
    "make_patch",
    "open_sandbox",
    "run_pytest",
    "run_unittest",
    "undo_patch",
]
