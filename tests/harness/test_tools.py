"""The tools that look and run, in both forms of results; schemas and coercion of arguments."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calc_repo import FILES, TASK

from vivace.core.types import TestSpec, ToolCall
from vivace.harness.environment import Environment, task_environment
from vivace.harness.tools.base import ERROR_KINDS, Context, Result
from vivace.harness.tools.coerce import CoercionError, coerce
from vivace.harness.tools.registry import INVALID_JSON, PROFILES, TOOLS, get_profile
from vivace.harness.tools.run_in_terminal import RunInTerminalArgs
from vivace.harness.tools.run_tests import RunTestsArgs
from vivace.harness.tools.text import clip, glob_pattern
from vivace.sandbox import Workspace

MakeEnv = Callable[[dict[str, str]], Environment]


def use(env: Environment, tool: str, profile: str = "copilot", **arguments: Any) -> Result:
    chosen = get_profile(profile)
    result, outcome = chosen.call(ToolCall(name=tool, arguments=arguments), Context(env, chosen.terse))
    assert outcome.kind == result.kind
    if not result.text.startswith("ERROR"):
        assert outcome.kind not in ERROR_KINDS - {"broken_syntax", "partial", "timeout"}
    else:
        assert outcome.kind in ERROR_KINDS
    return result


# --- reading -------------------------------------------------------------------------------------------------------


def test_read_file_in_full(env: Environment) -> None:
    result = use(env, "read_file", filePath="/workspace/calc/ops.py", startLine=4, endLine=6)
    assert result.text == (
        "File: `/workspace/calc/ops.py`. Lines 4 to 6 (13 lines total):\n```python\n"
        'def add(a, b):\n    """Sum of two numbers."""\n    return a - b\n```'
    )


@pytest.mark.parametrize(
    ("start", "end", "lines"),
    [("4", "6", (4, 6)), ("6", "4", (4, 6)), ("-3", "2", (1, 2)), ("12", "999", (12, 13)), ("", "", (1, 13))],
)
def test_read_file_ranges(env: Environment, start: str, end: str, lines: tuple[int, int]) -> None:
    result = use(env, "read_file", "nano", filePath="calc/ops.py", startLine=start, endLine=end)
    assert result.text == "\n".join(FILES["calc/ops.py"].splitlines()[lines[0] - 1 : lines[1]])


def test_read_file_limits(make_env: MakeEnv) -> None:
    env = make_env({"long.txt": "".join(f"{n}\n" for n in range(1, 3001)), "empty.py": "", "blank.py": " \n\n"})
    assert use(env, "read_file", "nano", filePath="long.txt", startLine="5").text.split("\n")[-1] == "44"
    full = use(env, "read_file", filePath="long.txt", startLine=1, endLine=3000).text
    assert full.startswith("File: `/workspace/long.txt`. Lines 1 to 2000 (3000 lines total):")
    assert use(env, "read_file", filePath="long.txt", offset=2999, limit=1).text.endswith("```txt\n2999\n```")
    assert use(env, "read_file", filePath="long.txt", startLine=4000).text == "ERROR: the file has 3000 lines"
    assert use(env, "read_file", filePath="empty.py").text == "(The file `/workspace/empty.py` is empty.)"
    assert "only whitespace" in use(env, "read_file", filePath="blank.py").text


def test_binary_files_are_not_text(env: Environment) -> None:
    env.workspace.write_bytes("image.bin", b"\x89PNG\xff\xfe\x00")
    assert use(env, "read_file", filePath="image.bin").kind == "not_text"


def test_paths_of_the_mount_point_are_known(env: Environment) -> None:
    assert use(env, "read_file", filePath=f"{env.mount_point}/README.md").kind == "ok"


def test_a_symlink_out_of_the_workspace_is_not_followed(env: Environment) -> None:
    env.workspace.exec(["ln", "-s", "/etc/passwd", "leak.txt"])
    result = use(env, "read_file", filePath="leak.txt")
    assert result.kind in ERROR_KINDS
    assert "root" not in result.text


def test_list_dir(env: Environment) -> None:
    assert use(env, "list_dir", path="/workspace").text == "README.md\ncalc/\ntests/"
    assert use(env, "list_dir", path="calc").text == "__init__.py\nops.py"
    assert use(env, "list_dir", path="nowhere").text == "ERROR: no folder /workspace/nowhere"
    assert use(env, "list_dir", path="README.md").text == "ERROR: /workspace/README.md is a file"


def test_file_search(env: Environment) -> None:
    assert use(env, "file_search", query="*.py").text.split("\n") == [
        "3 total results", "/workspace/calc/__init__.py", "/workspace/calc/ops.py", "/workspace/tests/test_ops.py",
    ]  # fmt: skip
    assert use(env, "file_search", query="**/*.py", maxResults=1).text.endswith("__init__.py\n...")
    assert use(env, "file_search", query="*.rs").kind == "no_results"


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.py", "a/b.py", True), ("src/*.py", "src/a/b.py", False), ("src/**/*.py", "src/a.py", True),
        ("src/", "src/a/b.py", True), ("src", "src/a.py", True), ("{a,b}.py", "x/b.py", True),
        ("test_[ab].py", "test_a.py", True), ("test_[!ab].py", "test_a.py", False), ("a?.py", "ab.py", True),
        ("a.py", "aXpy", False), ("**", "x/y", True), ("[", "[", True), ("{a", "{a", True),
    ],
)  # fmt: skip
def test_globs(glob: str, path: str, matches: bool) -> None:
    assert bool(glob_pattern(glob).fullmatch(path)) == matches


def test_grep_in_full(env: Environment) -> None:
    text = use(env, "grep_search", query="DEF ADD", isRegexp=False).text
    assert text == '1 match\n<match path="/workspace/calc/ops.py" line=4>\ndef add(a, b):\n</match>'


def test_grep_by_regular_expression(env: Environment) -> None:
    result = use(env, "grep_search", "nano", query=r"def (add|mean)\(", isRegexp="true")
    assert result.text == "calc/ops.py:4: def add(a, b):\ncalc/ops.py:9: def mean(values):"


def test_grep_tries_the_other_reading_once(env: Environment) -> None:
    assert use(env, "grep_search", "nano", query="def (add|mean)").text.count("\n") == 1
    assert use(env, "grep_search", "nano", query="add(a, b", isRegexp="true").kind == "bad_regex"
    assert use(env, "grep_search", "nano", query="add(a, b)", isRegexp="true").text == "calc/ops.py:4: def add(a, b):"
    assert use(env, "grep_search", "nano", query="nothing(").text == "no matches"


def test_grep_is_bounded(make_env: MakeEnv) -> None:
    env = make_env({"a.py": "hit\n" * 30, ".venv/b.py": "hit\n", "pkg/c.py": "hit " + "x" * 2000 + "\n"})
    terse = use(env, "grep_search", "nano", query="hit").text.split("\n")
    assert len(terse) == 9
    assert terse[-1] == "+23 more"
    full = use(env, "grep_search", query="hit", isRegexp=False, includePattern="pkg/**").text
    assert full.startswith("1 match\n")
    assert len(full) < 700


def test_a_runaway_expression_is_stopped(make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.harness.tools.grep_search.SECONDS", 1.0)
    env = make_env({"a.txt": "a" * 60 + "!\n"})
    assert use(env, "grep_search", query="(a+)+$", isRegexp=True).kind == "timeout"


def test_get_errors(make_env: MakeEnv) -> None:
    env = make_env({"good.py": "x = 1\n", "pkg/bad.py": "x = (\n", "notes.txt": "x = (\n"})
    assert use(env, "get_errors").text == "/workspace/pkg/bad.py:1: error: '(' was never closed"
    assert use(env, "get_errors", filePaths=["good.py"]).text == "No errors found."
    assert use(env, "get_errors", filePaths="pkg, good.py").kind == "diagnostics"
    assert use(env, "get_errors", filePaths=["absent"]).kind == "not_found"


# --- running -------------------------------------------------------------------------------------------------------

TERMINAL = {"explanation": "e", "goal": "g", "mode": "sync"}


def test_terminal(env: Environment) -> None:
    assert use(env, "run_in_terminal", command="echo hi > f; cat f calc/../f", **TERMINAL).text == "hi\nhi"
    assert use(env, "run_in_terminal", command="cat f; exit 3", **TERMINAL).text == "hi\nexit code 3"
    assert use(env, "run_in_terminal", command="true", **TERMINAL).text == "(no output)"
    long = use(env, "run_in_terminal", command="seq 1 100000", **TERMINAL).text
    assert len(long) < 61_000
    assert "characters left out" in long
    assert long.endswith("(All of it is in /workspace/.vivace-output/1.txt.)")
    assert use(env, "read_file", filePath=".vivace-output/1.txt", startLine=77777, endLine=77777).text.endswith(
        "```txt\n77777\n```")  # fmt: skip
    assert env.workspace.changed_files() == ["f"], "what is kept of output is no part of the work"


def test_a_command_goes_on_in_the_background(env: Environment) -> None:
    slow = use(env, "run_in_terminal", command="echo a; read x; echo got $x; sleep 60", timeout=400, **TERMINAL)
    assert slow.kind == "background"
    assert slow.text.endswith("(Still running after 0.4 s: it goes on in the background, its id is 1.)")
    assert use(env, "send_to_terminal", id="1", command="hello").text.endswith("a\ngot hello")
    assert use(env, "get_terminal_output", id="1").text.startswith("a\ngot hello\n(id 1 has been running for ")
    assert use(env, "kill_terminal", id="1").text == "a\ngot hello\n(stopped id 1)"
    gone = use(env, "get_terminal_output", id="1")
    assert (gone.kind, gone.text) == ("not_found", "ERROR: no command with id '1'; none can be named")
    background = {**TERMINAL, "mode": "async"}
    assert "(id 2 has been running" in use(env, "run_in_terminal", command="echo up; sleep 60", **background).text
    assert use(env, "run_in_terminal", command="echo b; exit 3", **background).text == (
        "b\nexit code 3\n(id 3 has ended)")  # fmt: skip
    running = env.workspace.background["2"]
    env.workspace.close()
    assert not running.running


def test_the_end_of_a_command_in_the_background_is_told_once(env: Environment) -> None:
    use(env, "run_in_terminal", command="sleep 1.2; exit 5", timeout=100, **TERMINAL)
    env.workspace.background["1"].wait(60)
    told = "(The command with id 1 has ended with exit code 5.)"
    assert use(env, "list_dir", path="calc").text == f"__init__.py\nops.py\n{told}"
    assert told not in use(env, "list_dir", path="calc").text
    assert use(env, "get_terminal_output", id="1").text == "exit code 5\n(id 1 has ended)"


def test_only_so_many_run_in_the_background(env: Environment) -> None:
    for _ in range(8):
        use(env, "run_in_terminal", command="sleep 100", timeout=1, **TERMINAL)
    assert use(env, "run_in_terminal", command="true", **TERMINAL).kind == "refused"


def test_a_shell_alone_stops_what_takes_too_long(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.harness.tools.bash.DEFAULT_SECONDS", 0.3)
    result = use(env, "bash", "mini", command="echo a; sleep 60")
    assert result.kind == "timeout"
    assert result.text.endswith("ERROR: stopped after 0.3 s")
    assert env.workspace.background == {}


def test_an_interrupt_ends_the_command_that_is_waited_for(env: Environment) -> None:
    read_end, write_end = os.pipe()
    env.workspace.interrupt = read_end
    threading.Timer(0.5, os.write, (write_end, b"x")).start()
    result = use(env, "run_in_terminal", command="echo a; sleep 100", **TERMINAL)
    assert result.text.endswith("ERROR: stopped by the user")
    os.close(read_end), os.close(write_end)


# --- the command line's names for the same ---------------------------------------------------------------------------


def test_the_command_lines_tools(env: Environment) -> None:
    def cli(tool: str, **arguments: Any) -> Result:
        return use(env, tool, "copilot-cli", **arguments)

    assert cli("bash", command="echo hi", description="d").text == "hi"
    assert cli("view", path="/workspace/calc").text == "__init__.py\nops.py"
    assert "Lines 4 to 6" in cli("view", path="/workspace/calc/ops.py", view_range=[4, 6]).text
    assert "Lines 12 to 13" in cli("view", path="calc/ops.py", view_range="[12, -1]").text
    assert cli("view", path="calc/ops.py", view_range=["a"]).kind == "invalid_input"
    assert cli("grep", pattern="def (add|mean)").text == "/workspace/calc/ops.py"
    assert cli("grep", pattern="def (add|mean)", output_mode="count").text == "/workspace/calc/ops.py:2"
    assert cli("grep", pattern="def", path="calc", output_mode="content", head_limit=1).text == (
        "/workspace/calc/ops.py:4:def add(a, b):\n+1 more")  # fmt: skip
    assert cli("grep", pattern="nothing").kind == "no_results"
    assert cli("glob", pattern="*.py", path="/workspace/tests").text == "1 total result\n/workspace/tests/test_ops.py"
    assert cli("edit", path="calc/ops.py", old_str="return a - b", new_str="return a + b").kind == "ok"
    assert cli("edit", path="calc/ops.py", old_str="return a * b", new_str="return a + b").kind == "already_applied"
    assert cli("create", path="/workspace/new.py", file_text="x = 1\n").text == "File created at /workspace/new.py"
    assert cli("update_todo", todos="- [x] a\n- [~] b\n- [ ] c").text == "Successfully wrote todo list."
    assert cli("update_todo", todos="none").kind == "invalid_input"
    started = cli("bash", command="read x; echo got $x; sleep 60", description="d", mode="async").text
    assert started.startswith("(id 1 has been running")
    assert cli("write_bash", shellId="1", input="hello", delay=0).text == "got hello"
    assert cli("read_bash", shellId="1", delay=0).text.startswith("got hello")
    assert cli("stop_bash", shellId="1").text == "got hello\n(stopped id 1)"
    assert cli("task_complete", summary="done").done
    assert cli("read_file", filePath="calc/ops.py").kind == "unknown_tool"


def test_run_tests_in_full(env: Environment) -> None:
    result = use(env, "runTests")
    head = '<summary passed=1 failed=2 />\n<testFailure name="test_add" path="tests/test_ops.py">\n'
    assert result.text.startswith(head)
    assert "assert add(1, 2) == 3" in result.text
    assert "where -1 = add(1, 2)" in result.text


def test_run_tests_terse(env: Environment) -> None:
    lines = use(env, "runTests", "nano").text.split("\n")
    assert lines[:2] == ["1 passed, 2 failed", "tests/test_ops.py::test_add"]
    assert lines[2] == "line 5: assert -1 == 3; + where -1 = add(1, 2)"
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ({"testNames": "TestZero"}, "1 passed, 0 failed"),
        ({"testNames": "TestZero.test_zero"}, "1 passed, 0 failed"),
        ({"testNames": ["test_zero", "test_add"]}, "1 passed, 1 failed"),
        ({"testNames": "tests/test_ops.py::test_add\ntests/test_ops.py::TestZero"}, "1 passed, 1 failed"),
        ({"files": "/workspace/tests/test_ops.py"}, "1 passed, 2 failed"),
        ({"files": ["tests/test_ops.py"], "testNames": ["test_mean"]}, "0 passed, 1 failed"),
    ],
)
def test_run_some_tests(env: Environment, arguments: dict[str, Any], counts: str) -> None:
    assert use(env, "runTests", "nano", **arguments).text.split("\n")[0] == counts


def test_run_tests_that_are_not_there(env: Environment) -> None:
    assert use(env, "runTests", testNames="test_nothing").text == "ERROR: no test named test_nothing"
    assert use(env, "runTests", files="tests/absent.py").kind == "not_found"
    assert use(env, "runTests", "nano", files="README.md").kind in ("no_tests", "tests_failed")


def test_errors_outside_of_tests_are_told(make_env: MakeEnv) -> None:
    env = make_env({
        "mod.py": "def f(x):\n    return x.upper()\n",
        "test_a.py": "import absent_module\n",
        "test_b.py": "from mod import f\n\n\ndef test_f():\n    assert f(None) == 'A'\n",
    })  # fmt: skip
    broken = use(env, "runTests", "nano", files="test_a.py").text
    assert broken.startswith("0 passed, 1 failed\ntest_a.py\n")
    assert "No module named 'absent_module'" in broken
    assert use(env, "runTests", "nano", files="test_b.py").text == (
        "0 passed, 1 failed\ntest_b.py::test_f\nmod.py:2: AttributeError: 'NoneType' object has no attribute 'upper'"
    )


def test_traces_hold_the_packages_own_frames(make_env: MakeEnv) -> None:
    env = make_env({
        "mod.py": "import json\n\n\ndef load(text):\n    try:\n        return json.loads(text)\n"
        "    except ValueError as error:\n        raise TypeError('two\\nlines') from error\n",
        "test_a.py": "import pytest\n\nfrom mod import load\n\n\n@pytest.mark.parametrize('t', ['{', 'a]b'])\n"
        "def test_load(t):\n    load(t)\n",
    })  # fmt: skip
    terse = use(env, "runTests", "nano").text.split("\n")
    assert terse[1:3] == ["test_a.py::test_load[{]", "mod.py:8: TypeError: two; lines"]
    assert terse[3] == "test_a.py::test_load[a]b]"
    full = use(env, "runTests").text
    assert "JSONDecodeError" in full
    assert "mod.py:6: in load" in full
    assert "json/decoder.py" not in full


def test_unittest_reports_are_read_too(workspace: Workspace) -> None:
    workspace.write_text(
        "tests/test_unit.py",
        "import unittest\n\nfrom calc import add\n\n\nclass Case(unittest.TestCase):\n    def test_sum(self):\n"
        "        self.assertEqual(add(1, 2), 3)\n",
    )
    workspace.write_text("tests/test_bad.py", "def f(:\n")
    task = TASK.model_copy(update={"test": TestSpec(runner="unittest", args=["tests"])})
    env = task_environment(workspace, task, Path(sys.executable), named_tests=False)
    lines = use(env, "runTests", "nano").text.split("\n")
    assert lines[0] == "0 passed, 2 failed"
    assert "test_unit.Case.test_sum" in lines
    assert "test_unit.py:8: AssertionError: -1 != 3" in "\n".join(lines)
    assert "tests/test_bad.py:1: SyntaxError: invalid syntax" in lines


def test_a_test_process_that_dies_is_no_success(make_env: MakeEnv) -> None:
    env = make_env({"test_a.py": "import os\n\n\ndef test_ok():\n    pass\n\n\ndef test_exit():\n    os._exit(0)\n"})
    result = use(env, "runTests", "nano")
    assert (result.kind, result.text.split("\n")[0]) == ("tests_failed", "1 passed, 0 failed")
    assert "ended early" in result.text


# --- arguments and schemas -----------------------------------------------------------------------------------------


def test_arguments_as_raw_text() -> None:
    args = coerce(RunInTerminalArgs, {"command": "[1]", "timeout": " 5 ", "isBackground": "False"})
    assert (args.command, args.timeout, args.isBackground, args.mode) == ("[1]", 5, False, "sync")
    for text in ('["a", "b[1,2]"]', "a, b[1,2]", "a\nb[1,2]\n", ["a", "b[1,2]"]):
        tests = coerce(RunTestsArgs, {"testNames": text})
        assert tests.testNames == ["a", "b[1,2]"]


def test_bad_arguments_are_named_all_at_once() -> None:
    with pytest.raises(CoercionError) as error:
        coerce(RunInTerminalArgs, {"timeout": "soon", "mode": "later", "isBackground": "maybe"})
    assert str(error.value) == (
        "command is missing; mode must be one of sync, async, not 'later'; "
        "timeout must be a whole number, not 'soon'; isBackground must be true or false, not 'maybe'"
    )


def test_unknown_tools_and_unreadable_arguments(env: Environment) -> None:
    assert use(env, "list_dir", "nano", path=".").text.startswith("ERROR: no tool 'list_dir'; the tools are grep_")
    assert use(env, "read_file", **{INVALID_JSON: "{"}).kind == "invalid_input"
    assert use(env, "grep_search", query=" ").kind == "invalid_input"


REFERENCE = {
    "read_file": {"filePath": True, "startLine": True, "endLine": True},
    "list_dir": {"path": True},
    "file_search": {"query": True, "maxResults": False},
    "grep_search": {"query": True, "isRegexp": True, "includePattern": False, "maxResults": False,
                    "includeIgnoredFiles": False},
    "get_errors": {"filePaths": False},
    "get_changed_files": {"repositoryPath": False, "sourceControlState": False},
    "manage_todo_list": {"todoList": True},
    "runSubagent": {"prompt": True, "description": True},
    "create_file": {"filePath": True, "content": True},
    "replace_string_in_file": {"filePath": True, "oldString": True, "newString": True},
    "multi_replace_string_in_file": {"explanation": True, "replacements": True},
    "run_in_terminal": {"command": True, "explanation": True, "goal": True, "mode": True, "timeout": False},
    "get_terminal_output": {"id": True},
    "send_to_terminal": {"id": True, "command": True},
    "kill_terminal": {"id": True},
    "runTests": {"files": False, "testNames": False},
    "task_complete": {"summary": False},
}  # fmt: skip


def test_schemas_are_those_of_the_editor() -> None:
    schemas = {s["function"]["name"]: s["function"]["parameters"] for s in get_profile("copilot").schemas()}
    found = {
        name: {parameter: parameter in schema["required"] for parameter in schema["properties"]}
        for name, schema in schemas.items()
    }
    assert found == REFERENCE
    item = schemas["multi_replace_string_in_file"]["properties"]["replacements"]["items"]
    assert item["required"] == ["filePath", "oldString", "newString"]
    assert schemas["read_file"]["properties"]["startLine"]["type"] == "number"
    assert schemas["run_in_terminal"]["properties"]["mode"]["enum"] == ["sync", "async"]


REFERENCE_CLI = {
    "bash": {"command": True, "description": True, "mode": False, "initial_wait": False},
    "read_bash": {"shellId": True, "delay": True},
    "write_bash": {"shellId": True, "input": False, "delay": True},
    "stop_bash": {"shellId": True},
    "view": {"path": True, "view_range": False},
    "create": {"path": True, "file_text": False},
    "edit": {"path": True, "old_str": False, "new_str": False},
    "grep": {"pattern": True, "path": False, "glob": False, "output_mode": False, "head_limit": False},
    "glob": {"pattern": True, "path": False},
    "update_todo": {"todos": True},
    "task": {"description": True, "prompt": True, "agent_type": True},
    "task_complete": {"summary": False},
}  # fmt: skip


def test_schemas_are_those_of_the_command_line() -> None:
    schemas = {s["function"]["name"]: s["function"]["parameters"] for s in get_profile("copilot-cli").schemas()}
    assert {
        name: {parameter: parameter in schema["required"] for parameter in schema["properties"]}
        for name, schema in schemas.items()
    } == REFERENCE_CLI
    assert schemas["view"]["properties"]["view_range"]["items"] == {"type": "number"}


def test_every_profile_is_complete_and_its_hash_sees_its_tools() -> None:
    for profile in PROFILES.values():
        assert set(profile.tools) <= set(profile.table)
        assert len(profile.schemas()) == len(profile.tools)
        for name in profile.tools:
            tool = profile.table[name]
            other = {**profile.table, name: replace(tool, description=tool.description + "!")}
            assert replace(profile, table=other).hash() != profile.hash()


def test_profiles_use_the_same_tools_and_differ_in_hash() -> None:
    assert all(name in TOOLS for profile in PROFILES.values() if profile.table is TOOLS for name in profile.tools)
    assert len({profile.hash() for profile in PROFILES.values()}) == len(PROFILES)


def test_clip_keeps_both_ends() -> None:
    text = clip("a" * 600 + "b" * 600, 100)
    assert text.startswith("a" * 40 + "\n[... 1100 characters left out ...]\n")
    assert text.endswith("b" * 60)
    assert clip("short", 100) == "short"
