"""What a repository has committed, asked of git in a way that runs nothing of the repository's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from vivace.harness.policy.host import scrubbed_environment

_SECONDS = 10.0


def head(repo: Path) -> str | None:
    """The present commit; None outside of git, or before the first one."""
    found = _git(repo, "rev-parse", "--verify", "--quiet", "HEAD")
    return found.decode().strip() if found else None


def committed(repo: Path, since: str | None, path: str) -> tuple[bytes | None] | None:
    """(contents,) of a file in the first commit after `since` that touches it; (None,) where that deletes it. None:
    there is no such commit."""
    if since is None or head(repo) in (None, since):
        return None
    found = _git(repo, "rev-list", "--reverse", f"{since}..HEAD", "--", path)
    if not found or not found.strip():
        return None
    commit = found.decode().split()[0]
    listed = _git(repo, "ls-tree", "-z", commit, "--", path)
    if not listed:
        return (None,)
    return (_git(repo, "cat-file", "blob", listed.split(b"\t")[0].split()[2].decode()),)


def _git(repo: Path, *arguments: str) -> bytes | None:
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-replace-objects",
               "--literal-pathspecs", *arguments]  # fmt: skip
    env = scrubbed_environment({"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"})
    try:
        done = subprocess.run(command, cwd=repo, capture_output=True, timeout=_SECONDS, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
