"""From a source distribution to a clean tree: unpacked safely, stripped of what must not be there, times settled."""

from __future__ import annotations

import os
import py_compile
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from vivace.core.errors import BadInput

# Instructions addressed to coding agents would be read as prompts; history and caches would hand out answers.
AGENT_FILES = frozenset({
    "agents.md", "claude.md", "gemini.md", "copilot-instructions.md", ".cursorrules", ".windsurfrules", ".clinerules",
    "llms.txt", "llms-full.txt",
})  # fmt: skip
STRIPPED_DIRS = frozenset({
    ".git", ".hg", ".github", ".claude", ".cursor", ".codex", ".gemini", ".idea", ".vscode", ".tox", "__pycache__",
    ".pytest_cache",
})  # fmt: skip
SETTLED = 1_577_836_800  # 2020-01-01 UTC: a mutated file must not be told by being newer than its neighbours


def extract(sdist: Path, target: Path, drop: Sequence[str] = ()) -> None:
    """Unpack into the new folder `target`, without the archive's top folder.

    Raises:
        BadInput: not a tar archive, or one that tries to write outside its folder.
    """
    target.mkdir(parents=True)
    try:
        with tarfile.open(sdist) as archive:
            archive.extractall(target, members=_without_top(archive.getmembers()), filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(f"{sdist.name} cannot be unpacked ({error}); delete it from the cache and try again") from error
    for path in drop:
        shutil.rmtree(target / path, ignore_errors=True)
    _strip(target)
    settle(target)


def _without_top(members: Iterable[tarfile.TarInfo]) -> Iterable[tarfile.TarInfo]:
    for member in members:
        _, _, rest = member.name.partition("/")
        if rest:
            if member.islnk():
                member.linkname = member.linkname.partition("/")[2]
            yield member.replace(name=rest, deep=False)


def _strip(root: Path) -> None:
    for folder, dirs, files in os.walk(root):
        for name in [name for name in dirs if name.lower() in STRIPPED_DIRS]:
            shutil.rmtree(Path(folder, name))
            dirs.remove(name)
        for name in files:
            if name.lower() in AGENT_FILES or name.lower().startswith(".aider") or name.endswith((".pyc", ".pyo")):
                Path(folder, name).unlink()


def settle(root: Path) -> None:
    """Give everything the same modification time and plain permissions."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
                os.utime(path, (SETTLED, SETTLED))
        Path(folder).chmod(0o755)
        os.utime(folder, (SETTLED, SETTLED))


def precompile(root: Path, folders: Sequence[str]) -> None:
    """Bytecode beside the sources of these folders, so that a cold interpreter starts faster.

    Each file carries a hash of its source that the interpreter checks (PEP 552): bytecode never outlives an edit,
    whatever the clock says. Compiling runs no package code.
    """
    for top in folders:
        for source in sorted((root / top).rglob("*.py") if (root / top).is_dir() else [root / top]):
            with suppress(py_compile.PyCompileError, SyntaxError, ValueError):  # files kept broken on purpose
                py_compile.compile(
                    str(source), doraise=True, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
