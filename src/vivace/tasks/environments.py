"""The interpreter environment of a checkout: pinned from what it declares, or one that exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.files import cache_dir, digest
from vivace.core.progress import Progress
from vivace.tasks.layers import Layer, build_layer, build_layers
from vivace.tasks.local import Facts
from vivace.tasks.sources import Manifest, PackageSource, fetch_sdists

ALWAYS = ("pytest>=8", "coverage>=7.6")
TEST_EXTRAS = ("test", "tests", "testing")
RESOLVE_SECONDS = 600.0


@dataclass(frozen=True)
class Home:
    """A layer, the manifest from which `vivace run` builds it again, and what is worth knowing about its making."""

    layer: Layer
    manifest: Manifest
    notes: tuple[str, ...] = ()


def open_home(source: PackageSource, facts: Facts, *, extra: Sequence[str] = (), python: Path | None = None) -> Home:
    """The layer of a checkout.

    Args:
        extra: requirements beside pytest, coverage and what the checkout declares.
        python: use this interpreter as it is; nothing is installed.
    Raises:
        BadInput: a requirement cannot be had as a wheel, or `python` lacks pytest or coverage.
    """
    if python is not None:
        return _existing(source, python)
    tests = [one for name in TEST_EXTRAS for one in facts.extras.get(name, ())]
    itself = re.compile(re.escape(source.name).replace("-", "[-_.]") + r"\s*(\[|$)", re.IGNORECASE)
    wanted = [one for one in (*ALWAYS, *facts.requires, *extra) if not itself.match(one)]
    tests = [one for one in tests if not itself.match(one)]
    notes: list[str] = []
    with Progress("resolve the test environment", 1) as bar:
        try:
            pinned = resolve([*wanted, *tests])
        except BadInput as error:
            if not tests:
                raise
            pinned = resolve(wanted)
            notes.append(f"declared test dependencies left out ({error})")
        bar.advance(1, f"{len(pinned)} packages")
    manifest = Manifest(requirements=pinned, package=[source])
    return Home(build_layers(manifest)[source.env], manifest, tuple(notes))


def resolve(requirements: Sequence[str]) -> list[str]:
    """What pip would install for these, wheels only, pinned and sorted.

    Raises:
        BadInput: it finds no such wheels.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-",
               "--only-binary=:all:", "--disable-pip-version-check", *requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RESOLVE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BadInput("pip does not answer; see `pip config list`") from error
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise BadInput(f"no wheels for the test environment: {errors[-1].removeprefix('ERROR: ')[:160]}; "
                       "give an interpreter that has them with --python")
    found = [one["metadata"] for one in json.loads(done.stdout)["install"]]
    return sorted(f"{one['name']}=={one['version']}" for one in found)


def _existing(source: PackageSource, python: Path) -> Home:
    python = python.expanduser().absolute()
    probe = "import coverage, json, pytest; from importlib.metadata import distributions as d; " \
            "print(json.dumps(sorted({f\"{one.name}=={one.version}\" for one in d()})))"
    try:
        done = subprocess.run([str(python), "-I", "-c", probe], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"{python} does not run ({error}); give an interpreter") from error
    if done.returncode != 0:
        last = done.stderr.strip().rsplit("\n", 1)[-1][:120]
        raise BadInput(f"{python}: {last}; install pytest and coverage there")
    installed = json.loads(done.stdout)
    own = [one for one in installed if one.split("==")[0].lower().replace("_", "-") == source.name.lower()]
    notes = [f"{python} has {own[0]} installed: an agent could read the answers there"] if own else []
    manifest = Manifest(requirements=[one for one in installed if one not in own], package=[source])
    home = cache_dir("layers") / f"{source.env}-{digest([str(python), installed], 8)}"
    if not home.exists():
        build_layer(source, fetch_sdists([source])[source.name], home)
    return Home(Layer(source, home, python), manifest, tuple(notes))
