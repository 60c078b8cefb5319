"""Wheels, through pip's own configuration, checked against their pinned digest and cached.

Wheels, not source distributions: pip runs a source distribution's build code just to read its metadata.
Only pure-Python wheels are taken, so the same file comes on every platform.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import cache_dir, sha256_file
from vivace.core.progress import Progress
from vivace.data.config import PackagePin

BATCH = 12
PIP = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--platform", "any",
       "--implementation", "py", "--abi", "none", "--python-version", "3.11", "--disable-pip-version-check")


def fetch_wheels(pins: Sequence[PackagePin]) -> dict[str, Path]:
    """Path of each package's wheel, by package name; a cached one with the right digest is not fetched again.

    BadInput where a digest or file name differs from the pin, InfraError where no index answers.
    """
    folder = cache_dir("wheels")
    found = {pin.name: folder / pin.filename for pin in pins if _cached(folder / pin.filename, pin)}
    missing = [pin for pin in pins if pin.name not in found]
    if not missing:
        return found
    with Progress("fetch packages", len(missing)) as bar:
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            for pin in batch:
                bar.advance(0, pin.name)
            found |= _download(batch, folder)
            bar.advance(len(batch))
    return found


def _cached(path: Path, pin: PackagePin) -> bool:
    return path.exists() and sha256_file(path) == pin.sha256


def _download(pins: Sequence[PackagePin], folder: Path) -> dict[str, Path]:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        run_pip([f"{pin.name}=={pin.version}" for pin in pins], Path(scratch))
        for pin in pins:
            place(Path(scratch) / pin.filename, pin, folder)
    return {pin.name: folder / pin.filename for pin in pins}


def run_pip(requirements: Sequence[str], folder: Path) -> None:
    """`pip download` of pure wheels into `folder`; no package code runs."""
    done = subprocess.run([sys.executable, *PIP, "--dest", str(folder), *requirements], capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["pip failed"]
        lines = [line for line in said if line.startswith("ERROR")] or said
        raise InfraError(
            f"cannot download {', '.join(requirements)}: {lines[-1].removeprefix('ERROR: ')}; "
            "connect to a package index that pip can use, or fill the cache first"
        )


def place(path: Path, pin: PackagePin, folder: Path) -> None:
    """Move a downloaded wheel into the cache once its digest is the pinned one."""
    if not path.exists():
        raise BadInput(f"{pin.name} {pin.version}: the index has no {pin.filename}; update the manifest")
    if sha256_file(path) != pin.sha256:
        raise BadInput(f"{pin.filename} does not match its pinned sha256; do not use it: check the index or re-pin it")
    path.replace(folder / pin.filename)
