"""Does a pass mean anything? The same tests with expectations that cannot be met must fail.

Code under test shares a process with the runner: it can return objects that equal everything, or have the results of
just those tests rewritten that it knows by name, or write the result lines itself; the canary, which it does not know,
then fails as it should. Here the tests keep their names and files, only what they expect is replaced by values nobody
can know: on the clean tree they fail, and what passes them was not tested but forged.
"""

from __future__ import annotations

import ast
import re
import secrets
from collections.abc import Mapping

from vivace.core.syntax import python_tree
from vivace.core.types import Task
from vivace.sandbox import Sandbox
from vivace.tasks.layers import Layer
from vivace.tasks.testing import run_tests, test_root
from vivace.tasks.workspaces import open_workspace

SUSPICIOUS = re.compile(
    r"\b(import|class|type|setattr|getattr|exec|eval|compile|globals|locals|vars|open|lambda|os|sys|gc|json|signal|io"
    r"|threading|inspect|builtins|unittest|pytest|mock|atexit|ctypes)\b|__\w+__|\w*pytest\w*"
    r"|^\s*(?!self\.|cls\.)\w+(\.\w+)+\s*=[^=]", re.MULTILINE
)
"""A patch without any of this can neither make objects nor reach the runner: it is spared the two more runs."""
_EQUALS = re.compile(r"assert(\w*)Equals?")


def suspicious(patch: str) -> bool:
    """Whether the added lines of a patch could forge results."""
    return SUSPICIOUS.search("\n".join(line[1:] for line in patch.split("\n")
                                       if line.startswith("+") and not line.startswith("+++"))) is not None


def impossible(text: str, nonce: str) -> str:
    """A test file whose tests cannot be passed: every equality that is asserted compares with `nonce`, and a test
    without one ends in a comparison of its own.

    Raises SyntaxError.
    """
    return ast.unparse(ast.fix_missing_locations(_Impossible(nonce).visit(python_tree(text))))


class _Impossible(ast.NodeTransformer):
    def __init__(self, nonce: str) -> None:
        self.nonce, self.changed = nonce, 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        before = self.changed
        self.generic_visit(node)
        if node.name.startswith("test") and self.changed == before:
            node.body.append(ast.Assert(ast.Compare(self._value(), [ast.Eq()], [ast.Constant(self.nonce[::-1])])))
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        for part in ast.walk(node.test):
            if isinstance(part, ast.Compare) and isinstance(part.ops[0], ast.Eq):
                self.changed += 1
                if _calls(part.comparators[0]) and not _calls(part.left):
                    part.left = self._value()
                else:
                    part.comparators[0] = self._value()
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and _EQUALS.fullmatch(node.func.attr) and len(node.args) >= 2:
            self.changed += 1
            node.args[0 if _calls(node.args[1]) and not _calls(node.args[0]) else 1] = self._value()
        return node

    def _value(self) -> ast.expr:
        return ast.Tuple([ast.Constant(self.nonce)], ast.Load())


def _calls(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def forged(task: Task, layer: Layer, files: Mapping[str, str | None], sandbox: Sandbox) -> list[str]:
    """Tests of a task that pass on this tree although they cannot be passed. Takes two cold runs.

    Raises:
        InfraError: the sandbox failed.
    """
    tests = _impossible_files(task, layer)
    failing: list[set[str]] = []
    passing: set[str] = set()
    for tree in ({}, files):
        with open_workspace(layer, sandbox, {**tree, **tests}) as workspace:
            report = run_tests(task, layer, workspace, canary=True)
        failing.append({test for test, outcome in report.outcomes.items() if outcome in ("failed", "error")})
        passing = {test for test, outcome in report.outcomes.items() if outcome == "passed"}
    return sorted(failing[0] & passing & {*task.FAIL_TO_PASS, *task.PASS_TO_PASS})


def _impossible_files(task: Task, layer: Layer) -> dict[str, str | None]:
    nonce, found = secrets.token_hex(12), dict[str, str | None]()
    for path in sorted({test_path(task, layer, test) for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)}):
        place = layer.root / path
        if path and place.is_file():
            try:
                found[path] = impossible(place.read_bytes().decode(), nonce)
            except (SyntaxError, UnicodeDecodeError, RecursionError):
                continue
    return found


def test_path(task: Task, layer: Layer, test_id: str) -> str:
    """The file of a test: in its id for pytest, found from its module for unittest."""
    if task.test.runner == "pytest":
        return test_id.split("::")[0]
    parts = test_id.split(".")
    top = test_root(task.test)
    for size in range(len(parts) - 1, 0, -1):
        path = "/".join([top, *parts[:size]]) + ".py"
        if (layer.root / path).is_file():
            return path
    return ""
