"""`vivace tasks make PATH` without the command line: a checkout in, a folder of verified tasks out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, atomic_write_text, cache_dir, read_json, write_json
from vivace.sandbox import Sandbox
from vivace.tasks.cover import survey
from vivace.tasks.environments import Home, open_home
from vivace.tasks.families import Bench
from vivace.tasks.layers import build_layers
from vivace.tasks.local import local_source
from vivace.tasks.produce import Report, produce
from vivace.tasks.sources import Manifest, PackageSource, load_manifest, sdist_name

MANIFEST, SETTINGS = "packages.toml", "make.json"


def forge(
    path: Path, folder: Path, sandbox: Sandbox, wanted: Mapping[str, int], *, seed: int = 0, workers: int = 2,
    extra: Sequence[str] = (), python: Path | None = None, sources: Sequence[str] = (), tests: Sequence[str] = (),
    stop: Callable[[], bool] = lambda: False, say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Make tasks of the checkout `path` in `folder`, or go on with those that were begun there.

    The folder can be used as it is: rows, the manifest and the packed checkout that its layer is built from.

    Raises:
        BadInput: see `local_source`, `open_home` and `survey`; or the folder holds tasks of other code.
    """
    source, facts = local_source(path, sources=sources, tests=tests)
    settings = {"env": source.env, "seed": seed, "extra": list(extra), "python": str(python or "")}
    if (folder / SETTINGS).exists() and read_json(folder / SETTINGS, "choose another --out") != settings:
        raise BadInput(f"{folder} holds tasks of other code or made with other settings; choose another --out")
    if (folder / MANIFEST).exists() and python is None:
        manifest = load_manifest(folder / MANIFEST)  # what was resolved once stays
        home = Home(build_layers(manifest)[source.env], manifest)
    else:
        home = open_home(source, facts, extra=extra, python=python)
        keep(folder, home.manifest, source)
        write_json(folder / SETTINGS, settings)
    for note in home.notes:
        say(note)
    try:
        known = survey(home.layer, sandbox)
    except BadInput as error:
        problem = str(error).partition(";")[0]
        raise BadInput(f"{problem}; name the tests with --tests, or what they import with --with") from error
    say(f"{source.name} {source.version}: {len(known.green)} tests pass twice, "
        f"{sum(len(known.lines(path)) for path in known.covered)} lines are executed by them; code in "
        f"{', '.join(source.source_dirs)}, tests in {', '.join(source.test_dirs)}")
    bench = Bench(home.layer, known, sandbox, seed=seed, workers=workers)
    try:
        return produce(bench, wanted, folder, stop)
    finally:
        bench.close()


def keep(folder: Path, manifest: Manifest, source: PackageSource) -> None:
    archive = sdist_name(source)
    atomic_write_bytes(folder / archive, (cache_dir("sdists") / archive).read_bytes())
    atomic_write_text(folder / MANIFEST, manifest_text(manifest))


def manifest_text(manifest: Manifest) -> str:
    """A manifest as TOML, as `load_manifest` reads it."""
    lines = ["# Written by `vivace tasks make`. The archives of the packages lie beside this file.",
             f"requirements = {_toml(manifest.requirements)}"]
    for package in manifest.package:
        lines += ["", "[[package]]"]
        lines += [f"{key} = {_toml(value)}" for key, value in package.model_dump().items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Strings and lists of strings; JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
