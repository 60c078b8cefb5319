"""runTests: the package's own tests, run in the sandbox."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import replace
from html import escape

from pydantic import Field

from vivace.core.syntax import python_tree
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError
from vivace.harness.tools.failures import Failure, failures
from vivace.harness.tools.text import clip, shorten
from vivace.sandbox.testrun import TestReport

TERSE_FAILURES, TERSE_CHARACTERS = 3, 200
FULL_FAILURES, FULL_CHARACTERS = 20, 4_000


class RunTestsArgs(Args):
    files: list[str] = Field(default_factory=list, description="Absolute paths of test files. Leave out to run all.")
    testNames: list[str] = Field(
        default_factory=list, description="Names or node ids of tests, test classes or suites to run."
    )


def run(args: RunTestsArgs, ctx: Context) -> Result:
    """The same tests on the same files are run once in an attempt; asked for again, they cost nothing."""
    ids = _ids(args, ctx)
    key = ctx.test_key(ids)
    if (held := ctx.tested.get(key)) is not None:
        note = "" if ctx.terse else "\n(Nothing changed since these tests ran: the result is that one.)"
        return replace(held, text=held.text + note)
    if ctx.test_runs >= ctx.max_test_runs:
        raise ToolError("budget", f"the budget of {ctx.max_test_runs} test runs is used up")
    ctx.test_runs += 1
    report = ctx.env.test(ids)
    result = _render(report, ctx)
    if not report.timed_out:  # a busy machine may have been the reason
        ctx.tested[key] = result
    return result


def _ids(args: RunTestsArgs, ctx: Context) -> list[str] | None:
    """Node ids to run; None for the whole suite."""
    files = [ctx.resolve(file) for file in args.files]
    for file in files:
        if not ctx.env.workspace.exists(file or "."):
            raise ToolError("not_found", f"no file {ctx.show(file)}")
    if not args.testNames:
        return files or ctx.env.default_tests
    ids: list[str] = []
    for name in args.testNames:
        found = [name] if "::" in name or name.endswith(".py") else _named(name, files, ctx)
        if not found:
            raise ToolError("not_found", f"no test named {shorten(name, 80)}")
        ids += [ctx.resolve(i.partition("::")[0]) + "".join(i.partition("::")[1:]) for i in found]
    return list(dict.fromkeys(ids))


def _named(name: str, files: list[str], ctx: Context) -> list[str]:
    """Node ids of the tests or test classes called `name` (also as Class.test)."""
    known = [test_id for test_id in ctx.env.default_tests or [] if test_id.rsplit("::", 1)[-1] == name]
    if known:
        return known
    plain = name.split("[")[0]
    found = []
    for path in files or filter(is_test_file, ctx.env.workspace.files()):
        for node_id in _definitions(ctx.read(path)):
            if plain in (node_id, node_id.replace("::", "."), node_id.rsplit("::", 1)[-1]):
                found.append(f"{path}::{node_id}{name[len(plain):]}")
    return found


def is_test_file(path: str) -> bool:
    """Whether pytest would collect this file by its name."""
    name = path.rsplit("/", 1)[-1]
    return name.endswith("_test.py") or (name.startswith("test_") and name.endswith(".py"))


def _definitions(source: str) -> list[str]:
    try:
        tree = python_tree(source)
    except (SyntaxError, ValueError):
        return []
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef))
            found += [f"{node.name}::{inner.name}" for inner in methods]
    return found


def _render(report: TestReport, ctx: Context) -> Result:
    counts = Counter("failed" if outcome == "error" else outcome for outcome in report.outcomes.values())
    bad = failures(report, ctx.env.mount_point)
    stopped = ""
    if report.stopped:
        stopped = "stopped: " + ("took too long" if report.stopped == "time" else f"too much {report.stopped}")
    elif not report.outcomes:
        last = shorten(report.output.strip().rsplit("\n", 1)[-1], TERSE_CHARACTERS)
        if report.exit_code in (0, 5):
            return Result(f"no tests ran: {last}" if last else "no tests ran", "no_tests")
        stopped = f"no tests ran: {last}" if ctx.terse else f"no tests ran:\n{clip(report.output, FULL_CHARACTERS)}"
    elif not report.collected_ok and "error" not in report.outcomes.values():
        stopped = f"the test process ended early (exit code {report.exit_code})"
    text = _terse(counts, bad, stopped) if ctx.terse else _full(counts, bad, stopped)
    return Result(text, "tests_failed" if bad or stopped else "ok", passed=counts["passed"],
                  stopped=bool(report.stopped))


def _terse(counts: Counter[str], bad: list[Failure], stopped: str) -> str:
    lines = [f"{counts['passed']} passed, {counts['failed']} failed"]
    for failure in bad[:TERSE_FAILURES]:
        message = shorten(failure.message.replace("\n", "; "), TERSE_CHARACTERS)
        lines += [failure.test_id, f"{_place(failure)}{message}"]
    return "\n".join([*lines, *([stopped] if stopped else [])])


def _place(failure: Failure) -> str:
    path, _, line = failure.where.rpartition(":")
    if not line:
        return ""
    return f"line {line}: " if failure.test_id.startswith(path) else f"{failure.where}: "


def _full(counts: Counter[str], bad: list[Failure], stopped: str) -> str:
    lines = [f'<summary passed={counts["passed"]} failed={counts["failed"]} />']
    for failure in bad[:FULL_FAILURES]:
        path, _, name = failure.test_id.partition("::")
        lines += [
            f'<testFailure name="{escape(name or path)}" path="{escape(path)}">',
            clip(failure.trace or failure.message, FULL_CHARACTERS),
            "</testFailure>",
        ]
    if len(bad) > FULL_FAILURES:
        lines.append(f"({len(bad) - FULL_FAILURES} more failures)")
    return "\n".join([*lines, *([stopped] if stopped else [])])


TOOL = Tool(
    name="runTests",
    description="Run unit tests and report counts and failures. Prefer this tool to the terminal for tests; name files "
    "or tests to save time.",
    args=RunTestsArgs,
    run=run,
)
