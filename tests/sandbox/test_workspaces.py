import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.sandbox import ExecLimits, Sandbox, Workspace
from vivace.sandbox.host import own_interpreter

ESCAPES = ["/etc/passwd", "../outside", "pkg/../../outside", "", "a\0b", ".."]


def test_a_command_sees_the_copy_and_its_environment(workspace: Workspace) -> None:
    result = workspace.exec(
        ["sh", "-c", "cat README.md; echo; ./run.sh; cat; echo $EXTRA; pwd; exit 3"],
        stdin="given\n",
        env={"EXTRA": "set"},
    )
    assert result.exit_code == 3
    assert result.output.splitlines() == ["no newline at the end", "ran", "given", "set", "/workspace"]
    assert not result.timed_out
    assert not result.truncated
    assert result.killed is None


def test_working_directory_and_failures_of_the_command(workspace: Workspace) -> None:
    assert workspace.exec(["ls"], cwd="pkg").output == "__init__.py\n"
    assert workspace.exec(["no-such-program"]).exit_code == 127
    died = workspace.exec(["sh", "-c", "kill -9 $$"])
    assert (died.exit_code, died.signal) == (137, 9)
    with pytest.raises(BadInput, match="outside"):
        workspace.exec(["ls"], cwd="..")
    with pytest.raises(BadInput, match="no command"):
        workspace.exec([])


def test_long_output_keeps_both_ends(workspace: Workspace) -> None:
    result = workspace.exec(["seq", "2000"], limits=ExecLimits(output_bytes=1000))
    assert result.truncated
    assert result.killed is None
    assert result.output.startswith("1\n2\n")
    assert result.output.endswith("1999\n2000\n")
    assert "dropped" in result.output


def test_base_never_changes(workspace: Workspace) -> None:
    workspace.exec(["sh", "-c", "echo more >> README.md; rm -r pkg; chmod 0 run.sh"])
    assert (workspace.base / "README.md").read_text() == "no newline at the end"
    assert (workspace.base / "pkg" / "__init__.py").exists()
    assert os.access(workspace.base / "run.sh", os.X_OK)


def test_diff_of_all_kinds_applies_to_a_fresh_workspace(base: Path, sandbox: Sandbox) -> None:
    with Workspace(base, sandbox) as first, Workspace(base, sandbox) as second:
        assert first.diff() == ""
        start = first.state_digest()
        assert start == second.state_digest()
        first.exec(
            [
                "sh",
                "-c",
                "sed -i s/1/2/ pkg/__init__.py; mkdir -p new/deep; printf 'x\\r\\ny' > new/deep/file.txt",
            ]
        )
        first.write_text("README.md", "now with one\n")
        first.write_text("empty", "")
        first.delete("run.sh")
        patch = first.diff()
        assert second.apply(patch) == ["README.md", "empty", "new/deep/file.txt", "pkg/__init__.py", "run.sh"]
        assert second.diff() == patch
        assert second.state_digest() == first.state_digest() != start
        assert second.read_text("new/deep/file.txt") == "x\r\ny"
        assert not second.exists("run.sh")
        assert first.files() == ["README.md", "empty", "new/deep/file.txt", "pkg/__init__.py"]
        assert second.exec(["cat", "new/deep/file.txt"]).output == "x\r\ny"


def test_edit_within_the_same_tick_and_size_is_seen(base: Path, any_sandbox: Sandbox) -> None:
    with Workspace(base, any_sandbox) as workspace:
        workspace.write_text("pkg/__init__.py", "def one():\n    return 7\n")
        assert workspace.changed_files() == ["pkg/__init__.py"]
        workspace.write_text("pkg/__init__.py", "def one():\n    return 1\n")
        assert workspace.changed_files() == []


def test_set_back_times_do_not_hide_a_change(workspace: Workspace) -> None:
    code = """
import os
before = os.stat("README.md")
open("README.md", "r+").write("N")
os.utime("README.md", ns=(before.st_atime_ns, before.st_mtime_ns))
"""
    time.sleep(0.02)
    assert workspace.exec([own_interpreter(), "-c", code]).exit_code == 0
    assert workspace.changed_files() == ["README.md"]


def test_byproducts_and_binaries_stay_out_of_the_diff(workspace: Workspace) -> None:
    script = (
        "mkdir -p pkg/__pycache__ .pytest_cache; touch pkg/__pycache__/a.pyc .pytest_cache/b .coverage c.pyc"
    )
    workspace.exec(["sh", "-c", script])
    assert workspace.diff() == ""
    assert workspace.files() == ["README.md", "pkg/__init__.py", "run.sh"]
    workspace.write_bytes("image.bin", b"\0\1\2")
    assert workspace.diff() == ""
    assert workspace.changed_files() == ["image.bin"]


def test_bytecode_of_the_base_stays_valid(base: Path, any_sandbox: Sandbox) -> None:
    import py_compile

    source = base / "pkg" / "__init__.py"
    os.utime(source, (1_000_000_000, 1_000_000_000))
    py_compile.compile(str(source), doraise=True)
    with Workspace(base, any_sandbox) as workspace:
        run = [own_interpreter(), "-v", "-c", "import pkg; print(pkg.one())"]
        assert "matches" in workspace.exec(run).output
        workspace.write_text("pkg/__init__.py", "def one():\n    return 9\n")
        assert workspace.exec(run).output.rstrip().endswith("9") or "\n9\n" in workspace.exec(run).output


@pytest.mark.parametrize("path", ESCAPES)
def test_paths_that_leave_are_refused(base: Path, any_sandbox: Sandbox, path: str) -> None:
    with Workspace(base, any_sandbox) as workspace:
        for action in (
            workspace.read_text,
            workspace.exists,
            workspace.delete,
            lambda p: workspace.write_text(p, "x"),
        ):
            with pytest.raises(BadInput):
                action(path)


def test_traps_left_by_a_command_are_not_stepped_into(workspace: Workspace, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    script = f"ln -s {tmp_path} folder; ln -s {secret} file; ln -s ../../.. up; mkfifo pipe; ln -s folder/secret chain"
    workspace.exec(["sh", "-c", script])
    for path in ("folder/secret", "file", "chain", "up/etc/passwd", "pipe"):
        with pytest.raises(BadInput):
            workspace.read_text(path)
    for path in ("folder/new", "file", "pipe", "chain"):
        with pytest.raises(BadInput):
            workspace.write_text(path, "x")
    assert secret.read_text() == "hidden"
    assert not (tmp_path / "new").exists()
    assert "hidden" not in workspace.diff()


def test_symlinks_within_work(workspace: Workspace) -> None:
    assert workspace.read_text("link.md") == "no newline at the end"
    workspace.write_text("link.md", "through\n")
    assert workspace.read_text("README.md") == "through\n"
    assert workspace.changed_files() == ["README.md"]


def test_modes_survive_host_edits(workspace: Workspace) -> None:
    workspace.write_text("run.sh", "#!/bin/sh\necho edited\n")
    assert workspace.exec(["./run.sh"]).output == "edited\n"


def test_bad_patches_change_nothing(workspace: Workspace) -> None:
    good = "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-no newline at the end\n\\ No newline at end of file\n+x\n"
    bad = "--- a/pkg/__init__.py\n+++ b/pkg/__init__.py\n@@ -1,1 +1,1 @@\n-not there\n+x\n"
    outside = "--- /dev/null\n+++ b/../new\n@@ -0,0 +1 @@\n+x\n"
    for patch in (good + bad, good + outside, "no patch at all"):
        with pytest.raises(BadInput):
            workspace.apply(patch)
    assert workspace.diff() == ""
    assert workspace.apply(good) == ["README.md"]


def test_bad_bases_and_closed_workspaces(base: Path, any_sandbox: Sandbox) -> None:
    with pytest.raises(BadInput, match="not a folder"):
        Workspace(base / "README.md", any_sandbox)
    workspace = Workspace(base, any_sandbox)
    root = workspace.root
    workspace.exec(["sh", "-c", "mkdir -p locked/in; touch locked/in/file; chmod 0 locked/in"])
    workspace.close()
    workspace.close()
    assert not root.parent.exists()
    for action in (workspace.files, workspace.diff, lambda: workspace.exec(["true"])):
        with pytest.raises(BadInput, match="closed"):
            action()


def test_history_is_not_copied(base: Path, any_sandbox: Sandbox) -> None:
    (base / ".git").mkdir()
    (base / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    with Workspace(base, any_sandbox) as workspace:
        assert not workspace.exists(".git")
        assert workspace.changed_files() == []


def test_many_threads(base: Path, sandbox: Sandbox) -> None:
    def attempt(number: int) -> tuple[str, str]:
        with Workspace(base, sandbox) as workspace:
            workspace.write_text("number", f"{number}\n")
            result = workspace.exec(["sh", "-c", "cat number; echo seen >> number"])
            return result.output, workspace.read_text("number")

    with ThreadPoolExecutor(8) as pool:
        for number, (seen, left) in enumerate(pool.map(attempt, range(24))):
            assert (seen, left) == (f"{number}\n", f"{number}\nseen\n")


def test_an_overlay_is_part_of_the_base(base: Path, any_sandbox: Sandbox) -> None:
    init = "pkg/__init__.py"
    cache = base / "pkg" / "__pycache__"
    cache.mkdir()
    (cache / "__init__.cpython-311.pyc").write_bytes(b"stale")
    with Workspace(base, any_sandbox, overlay={init: b"def one():\n    return 2\n"}) as opened:
        assert opened.read_text(init) == "def one():\n    return 2\n"
        assert (opened.diff(), opened.changed_files()) == ("", [])
        assert not list((opened.root / "pkg" / "__pycache__").iterdir())
        assert (opened.root / init).stat().st_mtime_ns == (base / init).stat().st_mtime_ns
        opened.write_text(init, "def one():\n    return 1\n")
        assert "-    return 2\n+    return 1\n" in opened.diff()
        assert opened.base_bytes(init) == b"def one():\n    return 2\n"
        opened.write_text(init, "def one():\n    return 2\n")
        assert opened.diff() == ""
    assert (base / init).read_text() == "def one():\n    return 1\n"


def test_a_fork_has_the_files_of_now_and_goes_its_own_way(workspace: Workspace) -> None:
    workspace.write_text("README.md", "changed")
    workspace.delete("pkg/__init__.py")
    workspace.exec(["sh", "-c", "printf '\\0\\1' > data.bin; mkdir sub; ln -s ../README.md sub/link; rm link.md"])
    with workspace.fork() as fork:
        assert fork.state_digest() == workspace.state_digest()
        assert fork.changed_files() == workspace.changed_files()
        assert fork.exec(["cat", "sub/link"]).output == "changed"
        assert fork.exec(["./run.sh"]).output == "ran\n"
        fork.write_text("README.md", "again")
        assert workspace.read_text("README.md") == "changed"
    assert workspace.read_text("README.md") == "changed"


def test_commands_in_the_background_end_with_their_workspace(workspace: Workspace) -> None:
    name = workspace.start(["sh", "-c", "echo up; read line; echo got $line; sleep 100"])
    started = workspace.background[name]
    started.type("it\n")
    end = time.monotonic() + 60
    while "got it" not in started.output() and time.monotonic() < end:
        assert started.wait(0.05) is None
    assert started.output() == "up\ngot it\n"
    quick = workspace.background[workspace.start(["sh", "-c", "echo done; exit 3"])].wait(60)
    assert quick is not None
    assert (quick.exit_code, quick.output) == (3, "done\n")
    workspace.close()
    assert not started.running
    with pytest.raises(BadInput, match="has ended"):
        started.type("x")


def test_closing_twice_leaves_the_folder_above_alone(
    base: Path, any_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = tmp_path / "above"
    above.mkdir(mode=0o755)
    monkeypatch.setenv("TMPDIR", str(above))
    monkeypatch.setattr(tempfile, "tempdir", None)
    workspace = Workspace(base, any_sandbox)
    assert workspace.root.is_relative_to(above)
    workspace.exec(["sh", "-c", "mkdir -p locked/below && touch locked/below/f && chmod 0 locked/below locked"])
    workspace.close()
    workspace.close()
    assert list(above.iterdir()) == []
    assert above.stat().st_mode & 0o777 == 0o755
