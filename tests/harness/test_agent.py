"""The product's entry: a real checkout, changed only after approval, and the same tokens as everywhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from calc_repo import FILES, FIX, TASK, call, script, write_tree

from vivace.core.errors import BadInput, InfraError, ModelError
from vivace.core.types import Message, Trajectory
from vivace.harness.agent import run_agent
from vivace.harness.clients.openai import OpenAIClient
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.environment import Environment
from vivace.harness.loop import Limits, run
from vivace.text.chat import Renderer

PROMPT = TASK.problem_statement
EDIT, DONE = FIX[3], FIX[5]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "calc", FILES)


def agent(repo: Path, *answers: Message, prompt: str = PROMPT, approve: Callable[[str], bool] = lambda patch: True,
          profile: str = "nano") -> Trajectory:  # fmt: skip
    return run_agent(prompt, repo, ScriptedClient(None, script(*answers)), Limits(), approve, profile=profile)


def contents(repo: Path) -> dict[str, str]:
    return {str(p.relative_to(repo)): p.read_text() for p in sorted(repo.rglob("*")) if p.is_file()}


def test_approved_changes_reach_the_files(repo: Path) -> None:
    (repo / "calc/ops.py").chmod(0o755)
    shown: list[str] = []

    def approve(patch: str) -> bool:
        shown.append(patch)
        return True

    trajectory = agent(repo, EDIT, DONE, approve=approve)
    assert shown == [trajectory.patch]
    assert "+    return a + b" in shown[0]
    assert contents(repo) == {**FILES, "calc/ops.py": FILES["calc/ops.py"].replace("a - b", "a + b")}
    assert (repo / "calc/ops.py").stat().st_mode & 0o777 == 0o755
    assert trajectory.usage.output_tokens > 0


def test_refused_changes_do_not(repo: Path) -> None:
    trajectory = agent(repo, EDIT, DONE, approve=lambda patch: False)
    assert trajectory.patch
    assert contents(repo) == FILES


def test_created_and_deleted_files_are_applied(repo: Path) -> None:
    command = {"explanation": "", "goal": "", "mode": "sync"}
    agent(
        repo,
        call("create_file", filePath="calc/new/more.py", content="X = 1\n"),
        call("run_in_terminal", command="rm README.md", **command),
        DONE,
        prompt="tidy up",
        profile="copilot",
    )
    found = contents(repo)
    assert found["calc/new/more.py"] == "X = 1\n"
    assert "README.md" not in found


def test_the_tests_that_the_prompt_names_are_the_default(repo: Path) -> None:
    trajectory = agent(repo, call("runTests"), DONE, prompt="tests/test_ops.py::test_mean fails")
    assert trajectory.messages[3].content.startswith("0 passed, 1 failed\ntests/test_ops.py::test_mean")
    absolute = f"the test in {repo}/tests/test_ops.py fails"
    trajectory = agent(repo, call("runTests"), DONE, prompt=absolute)
    assert trajectory.messages[3].content.startswith("1 passed, 2 failed")


def test_the_same_ids_as_in_a_task(repo: Path, env: Environment, renderer: Renderer) -> None:
    """Parity: a scripted model sees identical ids through the product and through a rollout."""
    client = ScriptedClient(renderer, script(*FIX))
    names = [*TASK.FAIL_TO_PASS, *TASK.PASS_TO_PASS]  # `runTests` runs these; in the product, those that are named
    prompt = f"One of {' '.join(names)} fails. Fix it."
    product = run_agent(prompt, repo, client, Limits(), lambda patch: False, profile="nano")
    task = TASK.model_copy(update={"problem_statement": prompt})
    rollout = run(task, env, client, Limits(), profile="nano")
    assert product.segments == rollout.segments
    assert (product.patch, product.hashes) == (rollout.patch, rollout.hashes)


def test_newer_work_is_never_overwritten(repo: Path) -> None:
    def meddle(patch: str) -> bool:
        (repo / "calc/ops.py").write_text("# mine\n")
        return True

    with pytest.raises(BadInput, match=r"calc/ops\.py changed while the agent worked"):
        agent(repo, EDIT, DONE, approve=meddle)
    assert (repo / "calc/ops.py").read_text() == "# mine\n"


def test_a_file_that_appeared_meanwhile_is_not_overwritten(repo: Path) -> None:
    def meddle(patch: str) -> bool:
        (repo / "new.py").write_text("# mine\n")
        return True

    create = call("create_file", filePath="new.py", content="X = 1\n")
    with pytest.raises(BadInput, match=r"new\.py changed"):
        agent(repo, create, DONE, prompt="add new.py", approve=meddle, profile="copilot")


def test_symlinks_made_by_the_agent_are_not_applied(repo: Path) -> None:
    command = {"command": "ln -s /etc/passwd notes", "explanation": "", "goal": "", "mode": "sync"}
    with pytest.raises(BadInput, match="symlink"):
        agent(repo, call("run_in_terminal", **command), DONE, prompt="link", profile="copilot")
    assert contents(repo) == FILES


def test_folders_swapped_for_symlinks_do_not_lead_out(repo: Path, tmp_path: Path) -> None:
    """The checkout has a link to a folder outside; the agent replaces it by a folder and writes into that."""
    outside = write_tree(tmp_path / "outside", {"keep.txt": "keep\n"})
    (repo / "vendor").symlink_to(outside)
    swap = "rm vendor; mkdir vendor; echo x > vendor/keep.txt"
    command = {"command": swap, "explanation": "", "goal": "", "mode": "sync"}
    with pytest.raises(BadInput, match="symlink"):
        agent(repo, call("run_in_terminal", **command), DONE, prompt="vendor it", profile="copilot")
    assert (outside / "keep.txt").read_text() == "keep\n"


def test_what_cannot_be_worked_on(tmp_path: Path, repo: Path) -> None:
    with pytest.raises(BadInput, match="is not a folder"):
        agent(tmp_path / "absent")
    with pytest.raises(BadInput, match=r"tests/test_other\.py, which is not in"):
        agent(repo, prompt="tests/test_other.py fails")
    bare = write_tree(tmp_path / "bare", {"mod.py": "x = 1\n"})
    with pytest.raises(BadInput, match="no tests in"):
        agent(bare, prompt="the tests fail, fix them")
    assert agent(bare, Message(role="assistant", content="It is 1."), prompt="What is x?").stop_reason == "complete"


def test_a_folder_without_permission(tmp_path: Path) -> None:
    """Root reads everything, so a child process asks as nobody."""
    locked = write_tree(tmp_path / "locked", {"mod.py": "x = 1\n"})
    locked.chmod(0o000)
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            agent(locked, prompt="What is x?")
        except BadInput as error:
            os._exit(7 if "cannot be read" in str(error) else 8)
        finally:
            os._exit(9)
    status = os.waitpid(child, 0)[1]
    locked.chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 7


def test_a_dead_endpoint_is_an_error_not_a_result(repo: Path) -> None:
    client = OpenAIClient("http://127.0.0.1:9", "tiny", retries=0)
    with pytest.raises(InfraError, match="cannot reach"):
        run_agent(PROMPT, repo, client, Limits(), lambda patch: True)
    assert issubclass(ModelError, InfraError)


def test_a_src_layout_imports_the_workspace_copy(tmp_path: Path) -> None:
    files = {f"src/{name}" if name.startswith("calc") else name: text for name, text in FILES.items()}
    repo = write_tree(tmp_path / "srclayout", files)
    edit = call("replace_string_in_file", filePath="src/calc/ops.py", oldString="a - b", newString="a + b")
    trajectory = agent(repo, edit, call("runTests"), DONE)
    assert trajectory.messages[5].content == "1 passed, 0 failed"
