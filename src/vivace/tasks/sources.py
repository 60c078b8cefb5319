"""Package sources: the pinned manifest, and its source distributions fetched, checked and cached."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, cache_dir, digest, require_space, sha256_file
from vivace.core.progress import Progress

HELD_OUT = frozenset({"tabulate", "cachetools", "tomlkit", "lark", "markdown"})
"""Evaluation packages: never a source of training tasks, whatever a manifest says."""

DOWNLOADER = Path(__file__).with_name("pip_sdists.py")


class PackageSource(BaseModel):
    """One pinned source distribution, and how its suite is run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    sha256: str = Field(pattern=r"[0-9a-f]{64}")
    licence: str
    """SPDX expression."""
    role: Literal["train", "eval"]
    python_path: list[str] = ["."]
    """Folders of the tree from which the package is imported."""
    source_dirs: list[str]
    """Folders or files whose code may be mutated."""
    test_dirs: list[str] = ["tests"]
    """Folders or files that hold tests: restored before grading, never mutated."""
    runner: Literal["pytest", "unittest"] = "pytest"
    args: list[str] = []
    """Extra arguments of the runner."""
    deselect: list[str] = []
    """Test ids or prefixes of them that cannot run in the sandbox, or not in reasonable time."""
    drop: list[str] = []
    """Parts of the tree that neither the tests nor the package need."""

    @property
    def env(self) -> str:
        """Name of the environment layer made from this source: a pure function of the manifest entry."""
        return f"{self.name}-{self.version}-{digest(self.model_dump(exclude={'role'}), 8)}"


class Manifest(BaseModel):
    """recipes/packages.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requirements: list[str]
    """Pinned test-time dependencies, installed as wheels into the one environment that all packages share."""
    package: list[PackageSource]

    def role(self, role: str) -> list[PackageSource]:
        """Packages of one role, in the manifest's order."""
        return [package for package in self.package if package.role == role]

    def named(self, name: str) -> PackageSource:
        for package in self.package:
            if package.name == name:
                return package
        raise BadInput(f"no package {name!r} in the manifest; it has {', '.join(p.name for p in self.package)}")

    def by_env(self, env: str) -> PackageSource:
        """The package whose layer a task names."""
        for package in self.package:
            if package.env == env:
                return package
        raise BadInput(f"no package of the manifest makes the environment {env}; the task rows are of another manifest")


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        BadInput: missing, not TOML, a wrong field, a package listed twice, or a held-out package not marked `eval`.
    """
    try:
        manifest = Manifest.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BadInput(f"no manifest at {path}; the shipped one is recipes/packages.toml") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        first = str(error) if isinstance(error, tomllib.TOMLDecodeError) else _first_problem(error)
        raise BadInput(f"{path}: {first}; correct that line") from error
    names = [package.name for package in manifest.package]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise BadInput(f"{path}: {', '.join(sorted(twice))} listed twice; one role per package")
    wrong = [package.name for package in manifest.role("train") if package.name.lower() in HELD_OUT]
    if wrong:
        raise BadInput(f"{path}: {', '.join(wrong)} is held out for evaluation; its role must be \"eval\"")
    adopt(path.parent, manifest)
    return manifest


def sdist_name(package: PackageSource) -> str:
    """File name of a package's archive, in the cache and beside a manifest."""
    return f"{package.name}-{package.version}-{package.sha256[:8]}.tar.gz"


def adopt(folder: Path, manifest: Manifest) -> None:
    """Put archives that lie in `folder` (of checkouts, which no index has) into the cache, if they match their pins."""
    for package in manifest.package:
        given, kept = folder / sdist_name(package), cache_dir("sdists") / sdist_name(package)
        if given.is_file() and not kept.exists() and sha256_file(given) == package.sha256:
            atomic_write_bytes(kept, given.read_bytes())


def fetch_sdists(packages: Sequence[PackageSource]) -> dict[str, Path]:
    """The source distribution of each package, by name; from the cache where its digest is right.

    Raises:
        BadInput: an index does not have it, its digest differs from the pinned one, or there is no network.
    """
    folder = cache_dir("sdists")
    paths = {p.name: folder / sdist_name(p) for p in packages}
    missing = [p for p in packages if not (paths[p.name].exists() and sha256_file(paths[p.name]) == p.sha256)]
    if missing:
        require_space(folder, 64 << 20)
        with tempfile.TemporaryDirectory(dir=folder) as scratch, Progress("fetch sources", len(missing)) as bar:
            _download(missing, Path(scratch), paths, bar)
    return paths


def _download(packages: Sequence[PackageSource], scratch: Path, paths: dict[str, Path], bar: Progress) -> None:
    wanted = [{**p.model_dump(include={"name", "version", "sha256"}), "path": str(scratch / p.name)} for p in packages]
    log = scratch / "pip.log"
    with closing(_ask_pip(json.dumps(wanted), log)) as problems:
        for package in packages:  # in this order they come in
            problem = next(problems, None)
            if problem != "":
                errors = log.read_text(errors="replace")
                last = errors.strip().rsplit("\n", 1)[-1][:160] or "pip stopped"
                raise BadInput(_explain(package, last if problem is None else problem, errors))
            if sha256_file(scratch / package.name) != package.sha256:
                raise BadInput(f"{package.name} {package.version} does not match its pinned sha256; "
                               "do not use it: check the package index, or pin the new file in the manifest")
            (scratch / package.name).replace(paths[package.name])
            bar.advance(1, package.name)


def _ask_pip(wanted: str, log: Path) -> Generator[str, None, None]:
    """A problem, or "", for one package after the other, as soon as it is there; ends early if pip does."""
    with log.open("w") as errors:
        process = subprocess.Popen([sys.executable, "-W", "ignore", str(DOWNLOADER)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError), process.stdin:  # it died at once: its log says why
            process.stdin.write(wanted)
        for line in process.stdout:
            yield str(json.loads(line)["problem"])
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _explain(package: PackageSource, problem: str, errors: str) -> str:
    wanted = f"{package.name} {package.version}"
    unreachable = any(sign in errors + problem for sign in ("connection error", "ConnectionError", "timed out"))
    if unreachable:
        return f"cannot download {wanted}: no package index answers, and it is not in the cache; connect and try again"
    if problem == "absent":
        return f"no package index has a source distribution of {wanted}; correct the manifest or pip's configuration"
    return f"cannot download {wanted}: {problem}; see `pip config list`"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
