"""Files that an agent's change must not reach unnoticed.

Two sorts: what nobody's change may touch (version control data, the policy's own files), and what the host or an editor
runs or obeys later, outside any sandbox: there the user agrees to each file by itself. Names are compared as a file
system that ignores case would, because on one `.GIT` is `.git`.
"""

from __future__ import annotations

import fnmatch
import posixpath
import unicodedata
from collections.abc import Container, Iterable, Sequence

from vivace.core.errors import BadInput

CONTROL = ".vivace"
"""Folder of a repository's own settings of Vivace."""
_NEVER = frozenset({".git", ".hg", ".svn", ".jj", CONTROL})
_FOLDERS = {
    ".vscode": "an editor runs its tasks", ".idea": "an editor runs its tasks", ".zed": "an editor runs its tasks",
    ".fleet": "an editor runs its tasks", ".devcontainer": "an editor starts it", ".husky": "git runs it",
    ".githooks": "git runs it", ".hooks": "git runs it", ".claude": "an agent obeys it", ".cursor": "an agent obeys it",
    ".codex": "an agent obeys it", ".gemini": "an agent obeys it", ".circleci": "a build server runs it",
    ".cargo": "cargo obeys it", ".mvn": "maven obeys it", ".yarn": "yarn runs it", ".venv": "an interpreter runs it",
    "venv": "an interpreter runs it", "node_modules": "node runs it", ".direnv": "a shell runs it",
}  # fmt: skip
_PATHS = {
    ".github/workflows/*": "a build server runs it", ".github/actions/*": "a build server runs it",
    ".github/copilot-instructions.md": "an agent obeys it", ".github/hooks/*": "an agent runs it",
    "*/site-packages/*": "an interpreter runs it", "*/dist-packages/*": "an interpreter runs it",
}  # fmt: skip
_NAMES = {
    "makefile": "make runs it", "gnumakefile": "make runs it", "*.mk": "make runs it", "justfile": "just runs it",
    "taskfile.y*ml": "task runs it", "rakefile": "rake runs it", "tox.ini": "tox runs it", "noxfile.py": "nox runs it",
    "conftest.py": "pytest runs it", "setup.py": "an installation runs it", "sitecustomize.py": "python runs it",
    "usercustomize.py": "python runs it", "*.pth": "python runs it", "pyvenv.cfg": "python obeys it",
    ".pre-commit-config.yaml": "git runs it", ".pre-commit-hooks.yaml": "git runs it", "lefthook*.y*ml": "git runs it",
    ".gitmodules": "git obeys it", ".gitattributes": "git obeys it", ".gitconfig": "git obeys it",
    ".envrc": "a shell runs it", ".env": "programs read it", ".bashrc": "a shell runs it", ".zshrc": "a shell runs it",
    ".profile": "a shell runs it", ".bash_profile": "a shell runs it", ".exrc": "an editor runs it",
    ".nvimrc": "an editor runs it", ".nvim.lua": "an editor runs it", ".vimrc": "an editor runs it",
    ".lvimrc": "an editor runs it", ".dir-locals.el": "an editor runs it", ".emacs": "an editor runs it",
    "*.code-workspace": "an editor obeys it", "package.json": "npm runs its scripts", ".npmrc": "npm obeys it",
    ".yarnrc*": "yarn obeys it", ".pnpmfile.cjs": "pnpm runs it", "bunfig.toml": "bun obeys it",
    "build.rs": "cargo runs it", "build.gradle*": "gradle runs it", "settings.gradle*": "gradle runs it",
    "gradlew*": "it is run by hand", "mvnw*": "it is run by hand", "dockerfile": "docker runs it",
    "dockerfile.*": "docker runs it", "docker-compose*.y*ml": "docker runs it", "compose.y*ml": "docker runs it",
    ".gitlab-ci.yml": "a build server runs it", "azure-pipelines.yml": "a build server runs it",
    "jenkinsfile": "a build server runs it", ".bazelrc": "bazel obeys it", "mcp.json": "an agent starts its servers",
    ".mcp.json": "an agent starts its servers", "agents.md": "an agent obeys it", "claude.md": "an agent obeys it",
    "gemini.md": "an agent obeys it", ".cursorrules": "an agent obeys it", ".windsurfrules": "an agent obeys it",
    "*.desktop": "a desktop runs it",
}  # fmt: skip


def never(path: str) -> str | None:
    """Why no change of this path (relative, of a workspace) may be written ("belongs to ..."), or None."""
    for part in _folded(path).split("/"):
        bare = part.rstrip(". ")  # a Windows share drops those
        if bare in _NEVER or bare.startswith(("git~", "vivace~")):
            return "belongs to the policy" if "vivace" in bare else "belongs to git" if "git" in bare else \
                "belongs to version control"
    return None


def run_later(path: str, more: Iterable[str] = ()) -> str | None:
    """Why the user has to agree to a change of this path by itself, or None.

    Args:
        more: patterns of the user's, for whole paths; `*` also crosses folders.
    """
    folded = _folded(path)
    *folders, name = folded.split("/")
    for folder in folders:
        if folder in _FOLDERS:
            return _FOLDERS[folder]
    found = next((why for pattern, why in _NAMES.items() if fnmatch.fnmatchcase(name, pattern)), None)
    if found is None:
        found = next((why for pattern, why in _PATHS.items()
                      if fnmatch.fnmatchcase(folded, pattern) or fnmatch.fnmatchcase(folded, "*/" + pattern)), None)
    if found is None and any(fnmatch.fnmatchcase(folded, _folded(pattern)) for pattern in more):
        found = "your settings protect it"
    return found


def refuse(paths: Iterable[str], agreed: Container[str] = (), more: Sequence[str] = ()) -> None:
    """The last look before files of a checkout are written.

    Args:
        agreed: paths that the user has agreed to, each by itself.
    Raises:
        BadInput: one of them is never written, or needs an agreement it has not got; nothing may be written then.
    """
    for path in paths:
        if why := never(path):
            raise BadInput(f"{path} {why} and is not written; nothing was applied: leave its change out")
        if path not in agreed and (why := run_later(path, more)):
            raise BadInput(f"{path} needs a yes of its own ({why}); nothing was applied")


def _folded(path: str) -> str:
    text = "".join(c for c in unicodedata.normalize("NFKC", path) if unicodedata.category(c) != "Cf")
    return posixpath.normpath(text.replace("\\", "/")).casefold()
