"""Make or refresh a manifest: `python -m vivace.data.pin recipes/corpus.toml --train NAME… --valid NAME… --eval NAME…`.

Takes the newest pure-Python wheel of each package; refuses every licence that the allow-list does not cover.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vivace.core.errors import VivaceError
from vivace.core.files import atomic_write_text, cache_dir, sha256_file
from vivace.core.progress import progress
from vivace.data.config import PackagePin, Role
from vivace.data.fetch import run_pip
from vivace.data.licence import allowed, wheel_licence

HEAD = """# The base corpus: pure-Python wheels, fixed by digest. Written by `python -m vivace.data.pin`.
# Roles: train; valid = in-domain validation loss only; eval = held out, never in training data or tokenizer.
"""


def pin_package(name: str, role: Role) -> PackagePin | str:
    """Download the newest wheel into the cache and pin it; a string says why it cannot be used."""
    folder = cache_dir("wheels")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            run_pip([name], Path(scratch))
            wheel = next(Path(scratch).glob("*.whl"))
            licence = wheel_licence(wheel)
        except VivaceError as error:
            return str(error)
        if not allowed(licence):
            return f"{name}: licence {licence} is not on the allow-list"
        path = wheel.replace(folder / wheel.name)
    return PackagePin(
        name=name, version=path.name.split("-")[1], filename=path.name, sha256=sha256_file(path),
        licence=licence, role=role,
    )


def manifest_text(pins: Sequence[PackagePin]) -> str:
    """The manifest as TOML."""
    def table(pin: PackagePin) -> str:
        return "\n[[package]]\n" + "".join(f'{key} = "{value}"\n' for key, value in pin.model_dump().items())

    return HEAD + "".join(table(pin) for pin in sorted(pins, key=lambda pin: pin.name))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    roles: tuple[Role, ...] = ("train", "valid", "eval")
    for role in roles:
        parser.add_argument(f"--{role}", nargs="*", default=[], metavar="NAME")
    options = vars(parser.parse_args(arguments))
    wanted: list[tuple[str, Role]] = [(name, role) for role in roles for name in options[role]]
    found = [pin_package(name, role) for name, role in progress(wanted, "pin packages")]
    for refused in (item for item in found if isinstance(item, str)):
        print(f"left out: {refused}", file=sys.stderr)
    atomic_write_text(options["manifest"], manifest_text([item for item in found if isinstance(item, PackagePin)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
