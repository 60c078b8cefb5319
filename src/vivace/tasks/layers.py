"""Environment layers: one unpacked tree a package and one interpreter environment for all of them, built once.

A task is a patch against a layer. Building is idempotent: a layer is renamed into place when whole, under a name that
is a digest of everything that went into it, so an interrupted build leaves nothing that could be mistaken for one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import atomic_write_text, cache_dir, digest, require_space
from vivace.core.progress import Progress
from vivace.sandbox import Sandbox, Workspace
from vivace.tasks.extract import extract, precompile, settle
from vivace.tasks.sources import Manifest, PackageSource, fetch_sdists

FORMAT = 1  # raise when a change here makes old layers wrong


@dataclass(frozen=True)
class Layer:
    """A clean tree and what is needed to run its tests. Everything below `home` is read-only once built."""

    source: PackageSource
    home: Path
    """Holds `tree` (the package as the agent may see it) and `meta` (its distribution metadata)."""
    python: Path
    """Interpreter that has the test-time dependencies, and no copy of any package that tasks are made of."""

    @property
    def env(self) -> str:
        return self.source.env

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def root(self) -> Path:
        return self.home / "tree"

    @property
    def readonly(self) -> tuple[Path, ...]:
        """Host folders that commands need to see beside the workspace."""
        return (self.home / "meta", self.python.parent.parent)

    def is_test(self, path: str) -> bool:
        """Whether a file of the tree is restored before grading: tests, and whatever steers a test run."""
        return path.rsplit("/", 1)[-1] in STEERING or _below(path, self.source.test_dirs)

    def is_source(self, path: str) -> bool:
        """Whether a change of this file counts as part of a fix.

        Code of the package does, new modules too. Elsewhere only files that exist: a new one in a folder that
        modules are imported from could take the place of the test runner.
        """
        known = _below(path, self.source.source_dirs) or (self.root / path).is_file()
        return known and not self.is_test(path)

    def environment(self, mount: str) -> dict[str, str]:
        """Environment variables of a command whose workspace is seen at `mount`."""
        paths = [os.path.normpath(os.path.join(mount, part)) for part in self.source.python_path]
        return {"PYTHONPATH": os.pathsep.join([*paths, str(self.home / "meta")])}

    def workspace(self, sandbox: Sandbox, overlay: Mapping[str, bytes] | None = None) -> Workspace:
        """A fresh checkout of the clean tree, with `overlay` laid over it, ready to run its tests."""
        workspace = Workspace(self.root, sandbox, readonly=self.readonly, overlay=overlay)
        workspace.env.update(self.environment(workspace.mount))
        return workspace


def _below(path: str, tops: Sequence[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)


STEERING = frozenset({
    "conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "sitecustomize.py",
    "usercustomize.py",
})  # fmt: skip


def build_layers(manifest: Manifest, packages: Sequence[PackageSource] | None = None) -> dict[str, Layer]:
    """Layers of `packages` (default: all of the manifest) by `env`, built or found in the cache.

    Raises:
        BadInput: a source or dependency cannot be had, or does not match its pin.
    """
    wanted = list(manifest.package if packages is None else packages)
    homes = {package.env: cache_dir("layers") / f"{package.env}-{_digest(manifest)}" for package in wanted}
    missing = [package for package in wanted if not homes[package.env].exists()]
    sdists = fetch_sdists(missing)  # first: a wrong pin should not wait for an environment
    python = build_environment(manifest)
    if missing:
        with Progress("unpack sources", len(missing)) as bar:
            for package in missing:
                build_layer(package, sdists[package.name], homes[package.env])
                bar.advance(1, package.name)
    return {package.env: Layer(package, homes[package.env], python) for package in wanted}


def build_environment(manifest: Manifest) -> Path:
    """Interpreter of the shared virtual environment, made with pip's own configuration from pinned wheels only."""
    home = cache_dir("envs") / _digest(manifest)
    python = home / "bin" / "python"
    with _locked(home.with_suffix(".lock")):
        if not (home / "complete").exists():
            require_space(home, 200 << 20)
            shutil.rmtree(home, ignore_errors=True)
            with Progress("make the test environment", 2) as bar:
                _run([sys.executable, "-m", "venv", "--without-pip", str(home)], "cannot make a virtual environment")
                bar.advance(1, "interpreter")
                _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--only-binary=:all:",
                      "--disable-pip-version-check", *manifest.requirements], "cannot install test-time dependencies")
                _refuse_packages(home, manifest)
                bar.advance(1, f"{len(manifest.requirements)} dependencies")
            atomic_write_text(home / "complete", "\n".join(manifest.requirements) + "\n")
    return python


def _digest(manifest: Manifest) -> str:
    return digest([FORMAT, sys.version_info[:3], manifest.requirements], 8)


def _refuse_packages(home: Path, manifest: Manifest) -> None:
    """A clean copy of a package beside its mutated tree would be the answer to every task made of it."""
    installed = {path.name.split("-")[0].lower().replace("_", "-") for path in home.rglob("*.dist-info")}
    both = sorted(installed & {package.name.lower().replace("_", "-") for package in manifest.package})
    if both:
        raise BadInput(f"the test environment would contain {', '.join(both)}, of which tasks are made; "
                       "take the package or the requirement out of the manifest")


def build_layer(package: PackageSource, sdist: Path, home: Path) -> None:
    """Make one layer in the new folder `home` from a source distribution that was checked before.

    Raises:
        BadInput: the archive is broken, or lacks what the manifest says it has.
    """
    require_space(home, 32 << 20)
    with _whole(home) as scratch:
        extract(sdist, scratch / "tree", package.drop)
        for path in (*package.source_dirs, *package.test_dirs):
            if not (scratch / "tree" / path).exists():
                raise BadInput(f"{package.name} {package.version}: no {path} in its sdist; correct the manifest")
        _write_metadata(package, scratch)
        precompile(scratch / "tree", [*package.source_dirs, *package.test_dirs])
        settle(scratch)


def _write_metadata(package: PackageSource, scratch: Path) -> None:
    """A *.dist-info, since many packages ask importlib.metadata for their own version or entry points."""
    folder = scratch / "meta" / f"{package.name.replace('-', '_')}-{package.version}.dist-info"
    info = scratch / "tree" / "PKG-INFO"
    head = f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
    atomic_write_text(folder / "METADATA", info.read_text() if info.exists() else head)
    for entry_points in sorted((scratch / "tree").glob("**/*.egg-info/entry_points.txt"))[:1]:
        shutil.copyfile(entry_points, folder / "entry_points.txt")


def _run(command: list[str], problem: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        last = errors[-1].removeprefix("ERROR: ")[:200] if errors else f"exit {done.returncode}"
        offline = any(sign in done.stderr for sign in ("Retrying", "connection", "Connection"))
        raise BadInput(f"{problem}: " + ("no package index answers; connect and try again" if offline else last))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One builder at a time, across processes."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _whole(home: Path) -> Iterator[Path]:
    """A scratch folder that becomes `home` if nothing went wrong; whoever finishes first wins."""
    scratch = Path(tempfile.mkdtemp(dir=home.parent, prefix=".building-"))
    try:
        yield scratch
        try:
            scratch.rename(home)
        except OSError as error:
            if not home.exists():
                raise InfraError(f"cannot write {home}: {error.strerror}; free some space") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


