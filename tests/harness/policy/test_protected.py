"""Paths that a change must not reach unnoticed, under every name a file system might take for them."""

from __future__ import annotations

import pytest

from vivace.core.errors import BadInput
from vivace.harness.policy.protected import never, refuse, run_later


@pytest.mark.parametrize("path", [
    ".git/config", ".git", "sub/.git/hooks/pre-commit", ".GIT/config", ".Git/hooks/x", ".git./config", ".git /config",
    "git~1/config", "a/../.git/config", "./.git/config", ".g\u200cit/config", "．git/config", "vendored/x/.git/config",
    ".hg/hgrc", ".vivace/config.toml", ".VIVACE/config.toml", ".vivace", "a\\.git\\config",
])  # fmt: skip
def test_never_written(path: str) -> None:
    assert never(path)
    with pytest.raises(BadInput, match="is not written"):
        refuse(["ok.py", path], agreed={path})


@pytest.mark.parametrize("path", [
    ".vscode/tasks.json", ".VSCode/settings.json", "a/b/.vscode/launch.json", ".idea/workspace.xml", "Makefile",
    "sub/makefile", "GNUmakefile", "build.mk", "conftest.py", "tests/conftest.py", "Conftest.PY", "setup.py",
    ".pre-commit-config.yaml", ".husky/pre-commit", ".githooks/pre-push", ".envrc", ".env", "package.json", ".npmrc",
    ".github/workflows/ci.yml", "x/.github/workflows/ci.yml", ".gitmodules", ".gitattributes", "pyvenv.cfg",
    "x.pth", ".venv/bin/python", "lib/site-packages/a.py", "AGENTS.md", ".mcp.json", ".cursor/rules/a.md",
    "Dockerfile", "docker-compose.yml", ".nvim.lua", "tox.ini", "noxfile.py", "justfile", "./Makefile",
    "sitecustomize.py", "x.code-workspace", ".devcontainer/devcontainer.json",
])  # fmt: skip
def test_asked_one_by_one(path: str) -> None:
    assert run_later(path)
    assert not never(path)
    with pytest.raises(BadInput, match="a yes of its own"):
        refuse([path])
    refuse([path], agreed=[path])


@pytest.mark.parametrize("path", [
    "src/git.py", "gitignore.txt", ".gitignore", "docs/makefiles.md", "src/setup_tools.py", "my_conftest.py",
    "github/workflows.py", "vscode/tasks.json", "src/vivace/core.py", "digit~1.txt", "pyproject.toml", "env.py",
])  # fmt: skip
def test_ordinary_files(path: str) -> None:
    assert not never(path)
    assert not run_later(path)
    refuse([path])


def test_the_users_patterns() -> None:
    assert run_later("deploy/prod/values.yaml", ["deploy/*"])
    assert not run_later("deploy.py", ["deploy/*"])
    with pytest.raises(BadInput):
        refuse(["Deploy/a"], more=["deploy/*"])
