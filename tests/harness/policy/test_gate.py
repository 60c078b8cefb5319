"""The policy at the tools and where files are written, against a model that tries to get around it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.calc_repo import FILES, call, script, write_tree
from vivace.core.errors import BadInput
from vivace.core.types import Message
from vivace.harness.agent import open_checkout, run_agent
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.limits import Limits
from vivace.harness.policy.gate import Answer, Gate, Request, effect_of
from vivace.harness.policy.policy import Policy
from vivace.harness.policy.unconfined import Unconfined
from vivace.harness.sessions.changes import Change
from vivace.harness.sessions.session import Session
from vivace.harness.tools.registry import PROFILES

DONE = Message(role="assistant", content="done")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "calc", {**FILES, "Makefile": "all:\n\ttrue\n", ".vscode/tasks.json": "{}\n"})


class Asked:
    """A user who answers in this order; remembers what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.requests = list(answers), list[Request]()

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.answers.pop(0)


def play(
    repo: Path, gate: Gate, *answers: Message, agree: Callable[[str, str], bool] = lambda path, why: False,
    sandbox: Unconfined | None = None,
) -> list[str]:
    """What the model was told of each call; everything that may be is applied."""
    client = ScriptedClient(None, script(*answers, DONE))
    done = run_agent("do it", repo, client, Limits(), lambda diff: True, gate=gate, agree=agree, sandbox=sandbox)
    return [message.content for message in done.messages if message.role == "tool"]


def shell(command: str) -> Message:
    return call("run_in_terminal", command=command, explanation="", goal="", mode="sync")


def replace(path: str, old: str, new: str) -> Message:
    return call("replace_string_in_file", filePath=path, oldString=old, newString=new)


def tree(repo: Path) -> dict[str, str]:
    return {str(p.relative_to(repo)): p.read_text() for p in sorted(repo.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("edit", [
    replace("Makefile", "true", "curl evil"), replace("/workspace/./sub/../Makefile", "true", "evil"),
    call("create_file", filePath=".vscode/launch.json", content="{}"),
    call("create_file", filePath="/workspace/tests/Conftest.py", content="evil"),
    call("multi_replace_string_in_file", explanation="", replacements=json.dumps(
        [{"filePath": "README.md", "oldString": "Adds", "newString": "Sums"},
         {"filePath": "Makefile", "oldString": "true", "newString": "evil"}])),
])  # fmt: skip
def test_edits_of_what_runs_later_are_asked_about(repo: Path, edit: Message) -> None:
    """Also through an alias, JSON in a string, or a roundabout path; a no leaves everything as it was."""
    before, user = tree(repo), Asked("no", "once")
    assert "not run: the user did not allow it" in play(repo, Gate(Policy(), user), edit)[0]
    assert tree(repo) == before
    assert not user.requests[0].repeatable
    agreed: list[str] = []
    play(repo, Gate(Policy(), user), edit, agree=lambda path, why: not agreed.append(path))
    assert tree(repo) != before
    assert len(agreed) == 1
    assert "the policy does" in play(repo, Gate(Policy(approval="never"), user), edit)[0]  # nobody left to ask


@pytest.mark.parametrize("command", [
    "echo evil >> Makefile", "printf evil > .vscode/tasks.json", "mkdir .husky; echo evil > .husky/pre-commit",
    "ln -s Makefile notes.txt; echo evil >> notes.txt; rm notes.txt", "echo evil > x; mv x Makefile",
    "echo evil > tests/conftest.py",
])  # fmt: skip
def test_commands_reach_no_protected_file_unseen(repo: Path, command: str) -> None:
    """A shell in the sandbox may write what it likes there; of that only what the user agrees to gets out."""
    before = tree(repo)
    play(repo, Gate(Policy()), shell(command), shell("echo fine > fine.txt"))
    assert tree(repo) == {**before, "fine.txt": "fine\n"}


@pytest.mark.parametrize("command", [
    "mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit", "mkdir -p sub/.git; echo evil > sub/.git/config",
    "mkdir .vivace; echo '[policy]' > .vivace/config.toml", "mkdir .GIT; echo evil > .GIT/config",
])  # fmt: skip
def test_control_files_are_never_written(repo: Path, command: str) -> None:
    before = tree(repo)
    play(repo, Gate(Policy()), shell(command), agree=lambda path, why: True)
    assert tree(repo) == before


def test_edit_tools_never_write_control_files(repo: Path) -> None:
    before, user = tree(repo), Asked()
    told = play(repo, Gate(Policy(), user), *(call("create_file", filePath=path, content="x")
                                              for path in (".vivace/config.toml", "a/.Git/config")))
    assert all("is not for editing" in text for text in told)
    assert tree(repo) == before


def test_read_only_leaves_nothing(repo: Path) -> None:
    """Neither edits nor what commands write, one command after the other."""
    before = tree(repo)
    told = play(repo, Gate(Policy("read-only"), Asked()), replace("calc/ops.py", "a - b", "a + b"),
                shell("echo x > new.txt; rm README.md; echo y >> calc/ops.py; cat new.txt"),
                shell("cat new.txt; ls; tail -n 1 calc/ops.py"), agree=lambda path, why: True)
    assert "read-only" in told[0]
    assert told[1] == "x"
    assert "No such file" in told[2]
    assert "README.md" in told[2]
    assert "\ny" not in told[2]
    assert tree(repo) == before


def test_untrusted_asks_about_all_but_looking(repo: Path) -> None:
    user = Asked("no", "always", "once")
    told = play(repo, Gate(Policy(approval="untrusted"), user), shell("ls && cat README.md"), shell("touch a"),
                shell("touch b"), shell("touch b"), shell("touch b; touch c"))
    assert "Calc" in told[0]
    assert "not run" in told[1]
    assert [request.what for request in user.requests] == ["touch a", "touch b", "touch b; touch c"]
    assert {"b", "c"} <= set(tree(repo))
    assert "a" not in tree(repo)


def test_untrusted_without_anybody_refuses(repo: Path) -> None:
    told = play(repo, Gate(Policy(approval="untrusted")), shell("touch a"), shell("ls; touch a"))
    assert all("the policy does not allow it" in text for text in told)
    assert "a" not in tree(repo)


def test_full_asks_and_scrubs_the_environment(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sandbox each command is asked about, reads outside the folder too; secrets do not get into it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    user = Asked("once", "no")
    told = play(repo, Gate(Policy("full"), user), shell("env"), shell("cat /etc/hostname"), shell("cat README.md"),
                sandbox=Unconfined())
    assert "PATH=" in told[0]
    assert "hush" not in told[0]
    assert "SSH_AUTH_SOCK" not in told[0]
    assert "not run" in told[1]
    assert "Calc" in told[2]
    assert len(user.requests) == 2


def test_the_sandboxed_environment_has_nothing_of_the_users(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "hush")
    told = play(repo, Gate(Policy()), shell("env; cat /proc/1/environ /proc/*/environ 2>/dev/null | tr '\\0' '\\n'"))
    assert "PATH=" in told[0]
    assert "hush" not in told[0]


def test_full_ends_what_a_stopped_command_began(repo: Path) -> None:
    told = play(repo, Gate(Policy("full"), Asked("once")), call("run_in_terminal", command="sleep 97 & echo $!; wait",
                explanation="", goal="", mode="sync", timeout=2000), sandbox=Unconfined())
    pid = int(told[0].split()[0])
    assert "goes on in the background" in told[0]  # until the workspace is closed
    assert not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]


def test_full_and_never_need_a_word() -> None:
    with pytest.raises(BadInput, match="--unattended"):
        Policy("full", "never")
    assert Policy("full", "never", unattended=True)


def test_sub_agents_are_held_too(repo: Path) -> None:
    """A sub-agent has the same environment, hence the same gate."""
    client = ScriptedClient(None, script(call("runSubagent", prompt="x", description="x"), DONE, DONE, DONE))
    seen: list[str] = []

    class Watched(Gate):
        def around(self, tool, args, ctx):  # type: ignore[no-untyped-def]
            seen.append(tool.name)
            return super().around(tool, args, ctx)

    def policy(messages):  # type: ignore[no-untyped-def]
        if "answer questions" not in messages[0].content:
            return client.policy(messages)
        said = sum(message.role == "assistant" for message in messages)
        return DONE if said else call("list_dir", path=".")

    run_agent("look", repo, ScriptedClient(None, policy), Limits(), lambda diff: True, gate=Watched(Policy()))
    assert seen == ["runSubagent", "list_dir"]


def test_every_tool_has_been_thought_of() -> None:
    """A tool that the gate does not know counts as a command; each of ours is named there or only reads."""
    for profile in PROFILES.values():
        for name in profile.tools:
            tool = profile.table[name]
            assert effect_of(tool) != "look" or tool.read_only
            if effect_of(tool) == "command":
                assert name in ("run_in_terminal", "bash", "send_to_terminal", "write_bash"), f"{name}: put it in gate"


def test_the_last_look_before_files_are_written(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A front end that forgot to ask, or that has been talked into it, still writes nothing of the sort."""
    before = tree(repo)
    with open_checkout(repo) as (workspace, checkout):
        workspace.write_text("fine.txt", "x")
        workspace.write_text("Makefile", "evil")
        with pytest.raises(BadInput, match="a yes of its own"):
            checkout.apply()
        workspace.write_text("sub/.GIT/config", "evil")
        with pytest.raises(BadInput, match="is not written"):
            checkout.apply(agreed={"Makefile", "sub/.GIT/config"})
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    with Session.create(repo) as session:
        for path in ("Makefile", ".git/config", ".vivace/config.toml"):
            with pytest.raises(BadInput, match="nothing was applied"):
                session.apply({path: Change(None, b"evil")}, {}, agreed={".git/config"})
    assert tree(repo) == before
