"""Harbor folders and Terminal-Bench, in the sandbox and, where an engine answers, in a container."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vivace.core.errors import BadInput, InfraError, SandboxError
from vivace.core.types import Message, ToolCall
from vivace.evals import containers
from vivace.evals.status import shipped
from vivace.evals.suites import harbor, terminal_bench
from vivace.evals.suites.base import Setting
from vivace.harness.clients.scripted import ScriptedClient
from vivace.sandbox import ExecLimits, Workspace, open_sandbox

DATA = shipped("terminal-bench-2.0")
IMAGE = "docker.io/library/debian:bookworm-slim"


def has_image() -> bool:
    try:
        command = containers.engine()
    except InfraError:
        return False
    return command is not None and subprocess.run([*command, "image", "inspect", IMAGE],
                                                  capture_output=True).returncode == 0


def types(*commands: str) -> ScriptedClient:
    left = list(commands)

    def policy(messages: Any) -> Message:
        if not left:
            return Message(role="assistant", content="done")
        return Message(role="assistant", tool_calls=[ToolCall(name="bash", arguments={"command": left.pop(0)}, id="c")])

    return ScriptedClient(None, policy, "types")


def task(name: str = "busiest-address", **changes: Any) -> harbor.HarborTask:
    return harbor.read_task("terminal-bench-2.0", DATA / name).model_copy(update=changes)


def test_both_schemas_are_read() -> None:
    first, second = harbor.read_folder("terminal-bench-2.0", DATA)
    assert (first.memory_mb, first.network, first.agent_seconds) == (1024, False, 300)
    assert (second.memory_mb, second.network, second.cluster) == (1024, False, "software-engineering")
    assert harbor.read_folder("x", DATA / "merge-settings")[0].id == "x/merge-settings"
    with pytest.raises(BadInput, match=r"no folder with a task\.toml"):
        harbor.read_folder("x", DATA / "merge-settings" / "tests")


def test_what_is_beyond_us_has_no_verdict(tmp_path: Path, no_engine: None) -> None:
    copy = tmp_path / "t"
    shutil.copytree(DATA / "busiest-address", copy)
    text = (copy / "task.toml").read_text()
    for more, words in (("\n[[steps]]\nname = 'a'\n", "several steps"), ("\ngpus = 1\n", "needs a GPU")):
        (copy / "task.toml").write_text(text + more)
        grade = terminal_bench.play(harbor.read_task("s", copy), types(), Setting(99), 0, 0).grade
        assert grade.status == "invalid"
        assert words in grade.detail
    (copy / "task.toml").write_text("x = [")
    with pytest.raises(BadInput, match="is no task in Harbor's format"):
        harbor.read_task("s", copy)


@pytest.mark.parametrize(("text", "structured", "found"), [
    (b"1\n", None, {"reward": 1.0}), (b"0.5", b'{"reward": 1}', {"reward": 0.5}),
    (None, b'{"a": 1, "b": 0}', {"a": 1, "b": 0}),
    (b"", b"[]", None), (b"nan", None, None), (b"yes", None, None), (None, None, None), (None, b'{"a": "x"}', None),
])  # fmt: skip
def test_rewards(text: bytes | None, structured: bytes | None, found: Any) -> None:
    assert harbor.reward(text, structured) == found
    if found:
        assert harbor.total(found) == found.get("reward", 0.5)


@pytest.mark.parametrize(("value", "megabytes"), [
    ("2G", 2048), ("512M", 512), (300, 300), ("1.5GB", 1536), (None, None),
])  # fmt: skip
def test_sizes(value: Any, megabytes: Any) -> None:
    assert harbor.megabytes(value) == megabytes


def test_which_dockerfiles_only_copy(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a")
    (folder / "b.txt").write_text("b")
    held = task(folder=tmp_path)

    def copied(text: str) -> Any:
        (folder / "Dockerfile").write_text(text)
        return harbor.copied(held)

    workdir, files, env = copied("FROM x\nENV A=1 B='2 3'\nWORKDIR /app\nCOPY sub ./\nCOPY b.txt c.txt\nCOPY . all/\n")
    assert (workdir, env) == ("/app", {"A": "1", "B": "2 3"})
    assert set(files) == {"a.txt", "c.txt", "all/sub/a.txt", "all/b.txt"}
    for text, why in (("FROM x\nWORKDIR /app\nRUN make\n", "RUN"),
                      ("FROM x\nCOPY b.txt /app/\n", "outside|working folder"),
                      ("FROM x\nWORKDIR /app\nCOPY ../up .\n", "not in its environment"),
                      ("FROM x\nWORKDIR /app\nCOPY b.txt /etc/\n", "outside")):
        found = copied(text)
        assert isinstance(found, str)
        assert any(part in found for part in why.split("|"))


def test_an_agent_works_where_the_task_says_and_is_graded_there(no_engine: None) -> None:
    solve = "cut -d' ' -f1 /app/access.log | sort | uniq -c"
    right = types("pwd; ls /tests/", solve, "echo 10.0.0.31 > /app/busiest.txt")
    attempt = terminal_bench.play(task(), right, Setting(4096), 0, 0)
    assert (attempt.grade.status, attempt.grade.scores) == ("solved", {"reward": 1.0})
    results = [message.content for message in attempt.trajectory.messages if message.role == "tool"]
    assert "/tests" in results[0]  # and it is not there yet
    assert "exit code" in results[0]
    assert "2 10.0.0.31" in results[1]
    wrong = terminal_bench.play(task(), types("echo 10.0.0.7 > busiest.txt"), Setting(4096), 0, 0)
    assert (wrong.grade.status, wrong.grade.scores) == ("failed", {"reward": 0.0})
    assert terminal_bench.play(task(), types(*["true"] * 9), Setting(4096, turns=2), 0, 0).grade.status == "budget"


def test_a_reward_that_the_agent_left_does_not_count(no_engine: None) -> None:
    forge = "mkdir -p /workspace/.verifier/logs/verifier && echo 1 > /workspace/.verifier/logs/verifier/reward.txt"
    assert terminal_bench.play(task("merge-settings"), types(forge), Setting(4096), 0, 0).grade.status == "failed"


def test_tasks_that_need_an_image_say_so(no_engine: None) -> None:
    attempt = terminal_bench.play(task(network=True), types(), Setting(99), 0, 0)
    assert attempt.grade.status == "invalid"
    assert "it needs the network, and no container engine answers" in attempt.grade.detail


def test_other_names_of_places_need_a_sandbox_that_mounts(tmp_path: Path) -> None:
    try:
        sandbox = open_sandbox("landlock")
    except SandboxError as error:
        pytest.skip(str(error))
    with Workspace(tmp_path, sandbox, names={"/app": "."}) as workspace, pytest.raises(SandboxError, match="as /app"):
        workspace.exec(["true"])


def test_a_named_engine_has_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(containers.SETTING, "false --option")
    containers.engine.cache_clear()
    with pytest.raises(InfraError, match="does not answer"):
        containers.engine()
    containers.engine.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(not has_image(), reason=f"no container engine with {IMAGE}")
def test_the_same_in_a_container() -> None:
    attempt = terminal_bench.play(task(), types("sleep 30 & pwd", "echo 10.0.0.31 > /workspace/busiest.txt"),
                                  Setting(4096), 0, 0)
    assert attempt.grade.solved
    assert "/app" in attempt.trajectory.messages[3].content
    with containers.Container(IMAGE) as container:
        late = container.exec(["sh", "-c", "sleep 40"], limits=ExecLimits(wall_s=1))
        assert late.timed_out
        assert late.duration_s < 20
        assert container.exec(["sh", "-c", "echo a > /tmp/a; exit 3"]).exit_code == 3
        assert container.read("/tmp/a") == b"a\n"
        assert container.read("/tmp/none") is None
        container.close()
        with pytest.raises(InfraError):
            container.exec(["true"])
