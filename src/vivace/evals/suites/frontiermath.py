"""The FrontierMath format: the submission is Python that defines answer(); its value is compared exactly.

The real problems are private and only their owner runs them. Submissions run in the sandbox, without network, and the
value comes out as text; the comparison runs in a second, fresh sandbox that has never seen the submission's code.
"""

from __future__ import annotations

import ast
import json
import re
import secrets
import sys
import tempfile
from pathlib import Path

from vivace.core.syntax import python_expression
from vivace.core.types import Grade
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows
from vivace.sandbox import ExecLimits, Sandbox, Workspace

PROMPT = ("Solve the problem. End your response with one Python code block that defines a function answer() without "
          "parameters, which returns the final answer as an int, a fraction or an exact sympy object.\n\n{problem}")
SECONDS, LONGEST = 60.0, 20_000
LIMITS = ExecLimits(wall_s=4 * SECONDS, cpu_s=SECONDS)
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_RUN = """
import os, sys
scope = {"__name__": "submission"}
exec(compile(open("submission.py").read(), "submission.py", "exec"), scope)
from sympy import srepr, sympify
value = scope["answer"]()
assert not isinstance(value, (float, str))
os.write(int(os.environ["VIVACE_RESULT_FD"]), srepr(sympify(value)).encode())
"""
_COMPARE = """
import json, os
import sympy
left, right = (eval(text, vars(sympy)) for text in json.load(open("values.json")))
same = left == right
if not same and isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr):
    same = sympy.simplify(left - right) == 0
os.write(int(os.environ["VIVACE_RESULT_FD"]), (open("word").read() if same is True or same == True else "no").encode())
"""
_NODES = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.Tuple, ast.List, ast.UnaryOp,
          ast.USub)


def submission(text: str) -> str | None:
    """The last code block that defines answer()."""
    found = [block for block in _BLOCK.findall(text) if re.search(r"^def answer\(", block, re.MULTILINE)]
    return found[-1] if found else None


def value_of(code: str, sandbox: Sandbox) -> str | None:
    """sympy's srepr of what answer() returns, computed in a sandbox; None when it fails, or returns no exact value."""
    found = _run({"submission.py": code, "run.py": _RUN}, "run.py", sandbox)
    return found if found and plain(found) else None


def same(left: str, right: str, sandbox: Sandbox) -> bool:
    """Whether two sreprs are the same value, exactly. Both must be `plain`."""
    word = secrets.token_hex(16)
    files = {"values.json": json.dumps([left, right]), "word": word, "compare.py": _COMPARE}
    return _run(files, "compare.py", sandbox) == word


def plain(text: str) -> bool:
    """Whether a text is nothing but calls of sympy's classes (capital names) on whole numbers."""
    if len(text) > LONGEST:
        return False
    try:
        tree = python_expression(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    # No strings: several of the classes evaluate those as code. A value with free symbols is therefore not gradable.
    names = ("true", "false", "oo", "zoo", "nan", "pi", "I")
    return all(isinstance(node, _NODES) and (not isinstance(node, ast.Constant) or isinstance(node.value, int))
               and (not isinstance(node, ast.Name) or node.id[0].isupper() or node.id in names)
               for node in ast.walk(tree))


def load(path: Path) -> list[Case]:
    """Fields id, problem, answer (Python that defines answer(), as a submission would)."""
    return [Case(id=f"frontiermath-format/{name}", messages=user(PROMPT.format(problem=problem)),
                 target={"answer": answer})
            for name, problem, answer in (need(row, "id", "problem", "answer") for row in rows(path))]


def grade(case: Case, text: str, bench: Bench) -> Grade:
    code = submission(text)
    if code is None:
        return Grade(status="failed", detail="no code block defines answer()")
    sandbox = bench.sandbox()
    found = value_of(code, sandbox)
    if found is None:
        return Grade(status="failed", detail="answer() failed or returned no exact value")
    wanted = value_of(case.target["answer"], sandbox)
    if wanted is None:
        return Grade(status="invalid", detail="the reference answer() itself gives no value here")
    return Grade(status="solved" if same(found, wanted, sandbox) else "failed", detail=f"returned {found[:80]}")


def _run(files: dict[str, str], script: str, sandbox: Sandbox) -> str | None:
    with tempfile.TemporaryDirectory(prefix="vivace-answer-") as base:
        overlay = {name: text.encode() for name, text in files.items()}
        with Workspace(Path(base), sandbox, overlay=overlay, readonly=[Path(sys.prefix)]) as workspace:
            done = workspace.exec([sys.executable, "-B", script], limits=LIMITS, collect=True)
    return done.channel.decode("utf-8", "replace") if done.exit_code == 0 and done.channel else None


SUITE = Suite(
    Info(name="frontiermath-format", title="FrontierMath format (not FrontierMath)", items="any", source="problems of "
         "your own in this format; Epoch AI's are private", licence="your own",
         gate="the real set is run by Epoch AI only: no score of this suite is a FrontierMath score",
         metric="share of exact answers", grader={"version": "1", "compare": "sympy ==, then simplify(a - b) == 0",
                                                  "cpu_seconds": SECONDS}, sandboxed=True),
    load, grade,
)
