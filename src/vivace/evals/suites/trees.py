"""The repositories that issues are about: trees without history, from clones or exported folders beside the data."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import cache_dir, place_folder

FOLDER = "repos"


def place_of(data: Path) -> Path:
    """Where the repositories of a data file lie: the folder `repos` beside it."""
    return (data if data.is_dir() else data.parent) / FOLDER


def tree(repos: Path, instance: str, repo: str, commit: str) -> Path:
    """The files of a repository at a commit; never to be changed.

    Either `repos/INSTANCE_ID/` holds them, or `repos/OWNER__NAME` is a clone (bare or not) that has the commit; then
    they are exported once into the cache. Later commits, and with them the fix, cannot be reached from there.

    Raises:
        BadInput: neither is there, or the clone has no such commit.
    """
    if (repos / instance).is_dir():
        return repos / instance
    clone = repos / repo.replace("/", "__")
    if not clone.is_dir():
        raise BadInput(f"{instance}: no {clone}; clone https://github.com/{repo} there, or put the files at "
                       f"{commit[:12]} into {repos / instance}")
    target = cache_dir("swe-trees", repo.replace("/", "__")) / commit
    return target if target.is_dir() else _export(clone, commit, target)


def _export(clone: Path, commit: str, target: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
        tarball, folder = Path(scratch) / "tree.tar", Path(scratch) / "tree"
        done = subprocess.run(["git", "-C", str(clone), "archive", "--format=tar", "-o", str(tarball), commit],
                              capture_output=True, text=True)
        if done.returncode:
            raise BadInput(f"{clone} cannot give {commit[:12]}: {' '.join(done.stderr.split())[:160]}; fetch it there")
        try:
            with tarfile.open(tarball) as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise InfraError(f"{clone} at {commit[:12]} cannot be unpacked: {error}") from error
        place_folder(folder, target)
    return target
