"""A checkout as a package source: what is in it, packed and pinned like a source distribution from an index.

Nothing of the checkout is executed here; its own words about itself (pyproject.toml, setup.cfg, PKG-INFO) are read.
"""

from __future__ import annotations

import configparser
import gzip
import hashlib
import io
import os
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, cache_dir
from vivace.tasks.extract import SETTLED, STRIPPED_DIRS
from vivace.tasks.sources import HELD_OUT, PackageSource, sdist_name

MOST_BYTES, MOST_FILES = 100 << 20, 20_000
_SKIPPED = STRIPPED_DIRS | {"node_modules", "build", "dist", ".venv", "venv", ".mypy_cache", ".ruff_cache", ".eggs"}
_TEST_FILE = re.compile(r"test_\w*\.py|\w+_test\.py|tests?\.py")
_TEST_DIRS = frozenset({"tests", "test", "testing"})
_NO_SOURCE = frozenset({
    *_TEST_DIRS, "docs", "doc", "examples", "example", "benchmarks", "benchmark", "scripts", "tools", "bin", "tasks",
})  # fmt: skip
_NO_MODULE = re.compile(r"(setup|conftest|noxfile|tasks|fabfile|versioneer|conf|manage)\.py")


@dataclass
class Facts:
    """What a checkout says about itself."""

    name: str
    version: str = "0"
    licence: str = "unknown"
    requires: list[str] = field(default_factory=list)
    """Declared run-time dependencies."""
    extras: dict[str, list[str]] = field(default_factory=dict)
    """Declared optional dependencies and dependency groups."""
    testpaths: list[str] = field(default_factory=list)


def local_source(root: Path, *, sources: Sequence[str] = (), tests: Sequence[str] = ()) -> tuple[PackageSource, Facts]:
    """The source of a checkout, packed into the cache where `build_layers` finds it.

    Args:
        sources: folders or files whose code may be changed; found if not given.
        tests: folders or files that hold tests; found if not given.
    Raises:
        BadInput: no folder, too large, no code or no tests found, or a package that is held out for evaluation.
    """
    root = root.expanduser().resolve()
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder; give the root of a checkout")
    files = _files(root)
    facts = _facts(root)
    python_path, found = _code(root, files)
    code = [_relative(root, one) for one in sources] or found
    suite = [_relative(root, one) for one in tests] or _tests(files, facts, code)
    if not code:
        raise BadInput(f"no Python package found in {root}; name its folder with --source")
    if not suite:
        raise BadInput(f"no tests found in {root} (test_*.py or *_test.py); name their folder with --tests")
    _refuse_held_out(facts, code)
    packed = _pack(root, files)
    source = PackageSource(
        name=facts.name, version=facts.version, sha256=packed[1], licence=facts.licence, role="train",
        python_path=python_path, source_dirs=code, test_dirs=suite,
    )  # fmt: skip
    atomic_write_bytes(cache_dir("sdists") / sdist_name(source), packed[0])
    return source, facts


def _files(root: Path) -> list[str]:
    """Files of the checkout, without what git ignores; of a plain folder without environments, caches and builds."""
    listed = _by_git(root) if (root / ".git").exists() else None
    found = sorted(listed if listed is not None else _by_walk(root))
    found = [path for path in found if not set(path.split("/")[:-1]) & STRIPPED_DIRS]
    found = [path for path in found if (root / path).is_file() and not (root / path).is_symlink()]
    size = sum((root / path).stat().st_size for path in found)
    if size > MOST_BYTES or len(found) > MOST_FILES:
        raise BadInput(f"{root} has {len(found)} files with {size / 1e6:.0f} MB, more than tasks are made from; "
                       "leave data out of the checkout (.gitignore), or give a smaller folder")
    return found


def _by_git(root: Path) -> list[str] | None:
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=", "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [name for name in done.stdout.decode(errors="replace").split("\0") if name] if not done.returncode else None


def _by_walk(root: Path) -> Iterator[str]:
    for folder, dirs, names in os.walk(root):
        dirs[:] = [name for name in dirs if name.lower() not in _SKIPPED and not name.endswith(".egg-info")
                   and not Path(folder, name, "pyvenv.cfg").exists()]  # fmt: skip
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def _facts(root: Path) -> Facts:
    project, tool = _pyproject(root)
    info = _headers(root / "PKG-INFO")
    setup = configparser.ConfigParser(interpolation=None)
    with suppress(configparser.Error, OSError):
        setup.read(root / "setup.cfg")
    named = project.get("name") or setup.get("metadata", "name", fallback="") or info.get("name") or root.name
    version = str(project.get("version") or info.get("version") or "0")
    licence = project.get("license") or setup.get("metadata", "license", fallback="") or info.get("license-expression")
    if isinstance(licence, dict):
        licence = licence.get("text")
    requires = project.get("dependencies") or _lines(setup.get("options", "install_requires", fallback=""))
    extras = dict(project.get("optional-dependencies") or {})
    if setup.has_section("options.extras_require"):
        extras |= {name: _lines(value) for name, value in setup.items("options.extras_require")}
    pytest_options = (tool.get("tool") or {}).get("pytest", {}).get("ini_options", {})
    testpaths = pytest_options.get("testpaths") or setup.get("tool:pytest", "testpaths", fallback="").split()
    extras |= {name: [one for one in group if isinstance(one, str)]
               for name, group in (tool.get("dependency-groups") or {}).items()}  # fmt: skip
    short = str(licence or info.get("license") or "unknown").strip().split("\n")[0][:60]
    return Facts(_plain(str(named)), _plain(version, "0"), short, list(requires), extras,
                 [testpaths] if isinstance(testpaths, str) else list(testpaths))


def _pyproject(root: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    path = root / "pyproject.toml"
    if not path.exists():
        return {}, {}
    try:
        whole = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}; correct that file") from error
    return whole.get("project") or {}, whole


def _headers(path: Path) -> dict[str, str]:
    """Of an RFC 822 file such as PKG-INFO, its first occurrence of each."""
    found: dict[str, str] = {}
    for line in path.read_text(errors="replace").split("\n\n")[0].split("\n") if path.exists() else []:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _plain(name: str, default: str = "package") -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", name).strip("-.") or default


def _code(root: Path, files: Sequence[str]) -> tuple[list[str], list[str]]:
    """(folders to import from, packages and modules): those below src/ if there are any, else those at the top."""
    for top in ("src", ""):
        inside = [path[len(top) + 1 :] if top else path for path in files if not top or path.startswith(f"{top}/")]
        packages = sorted({path.split("/")[0] for path in inside if path.endswith(".py") and "/" in path})
        packages = [name for name in packages if name.lower() not in _NO_SOURCE | {"src"} and name.isidentifier()
                    and (f"{name}/__init__.py" in inside or top)]  # fmt: skip
        modules = [path for path in inside if "/" not in path and path.endswith(".py")
                   and not _TEST_FILE.fullmatch(path) and not _NO_MODULE.fullmatch(path)]  # fmt: skip
        if packages or (modules and not top):
            return [top or "."], [f"{top}/{name}" if top else name for name in (packages or modules)]
    return ["."], []


def _tests(files: Sequence[str], facts: Facts, code: Sequence[str]) -> list[str]:
    """Where tests are: the declared test paths, or folders called tests, or single files."""
    declared = [path.strip("/") for path in facts.testpaths if path.strip("/") not in ("", ".")]
    declared = [path for path in declared if any(file == path or file.startswith(f"{path}/") for file in files)]
    if declared and not any(path in code for path in declared):
        return declared
    found: set[str] = set()
    for path in files:
        parts = path.split("/")
        if not _TEST_FILE.fullmatch(parts[-1]):
            continue
        folder = next((n for n, part in enumerate(parts[:-1]) if part in _TEST_DIRS), None)
        found.add(path if folder is None else "/".join(parts[: folder + 1]))
    return sorted(found)


def _relative(root: Path, given: str) -> str:
    path = (root / given).resolve()
    if not path.exists() or not path.is_relative_to(root) or path == root:
        raise BadInput(f"{given} is not inside {root}; give a folder or file of the checkout")
    return str(path.relative_to(root))


def _refuse_held_out(facts: Facts, code: Sequence[str]) -> None:
    names = {facts.name.lower().replace("_", "-"), *(Path(path).stem.lower().replace("_", "-") for path in code)}
    if taken := sorted(names & HELD_OUT):
        raise BadInput(f"{', '.join(taken)} is held out for evaluation; no training tasks are made of it")


def _pack(root: Path, files: Sequence[str]) -> tuple[bytes, str]:
    """(archive, its sha256): the same bytes for the same files, whenever and wherever it is made."""
    buffer = io.BytesIO()
    with (gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=6) as packed,
          tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive):
        for path in files:
            data = (root / path).read_bytes()
            member = tarfile.TarInfo(f"checkout/{path}")
            member.size, member.mtime = len(data), SETTLED
            member.mode = 0o755 if os.access(root / path, os.X_OK) else 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue(), hashlib.sha256(buffer.getvalue()).hexdigest()
