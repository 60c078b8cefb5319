"""Small real wheels, written to disk for the tests."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

from vivace.core.files import sha256_file
from vivace.data.config import PackagePin, Role

METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n\nAbout.\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
STEPS = (
    "total += math.sqrt({t}_{0} * {1}) - total // {2}",
    "total = [{t}_{0} for {t}_{1} in range({2})]",
    "if {t}_{0} > {1}:\n        total -= {t}_{2}",
    "while {t}_{0} and total:\n        {t}_{0} //= 2 + {1}",
    "total = {{'{t}': {t}_{0}, 'of': {1}}}[{2}]",
    "{t}_{0}, total = total, not {t}_{1}",
)


def make_wheel(
    folder: Path, name: str, files: dict[str, str | bytes], licence: str = "License-Expression: MIT", notice: str = ""
) -> Path:
    """A wheel `name-1.0-py3-none-any.whl` with the files and a METADATA that has the `licence` header lines."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", METADATA.format(name=name, licence=licence))
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", WHEEL)
        if notice:
            archive.writestr(f"{name}-1.0.dist-info/licenses/LICENSE", notice)
    return path


def pin_of(wheel: Path, licence: str = "MIT", role: Role = "train") -> PackagePin:
    return PackagePin(
        name=wheel.name.split("-")[0], version="1.0", filename=wheel.name, sha256=sha256_file(wheel),
        licence=licence, role=role,
    )


def module(topic: str, functions: int = 6) -> str:
    """A well-formed module whose words and syntax trees follow from `topic`; longer ones begin with the shorter."""
    parts = [f'"""Everything about {topic}."""\n\nimport math\n']
    for i in range(functions):
        rng = random.Random(f"{topic}:{i}")
        steps = "".join(f"    {rng.choice(STEPS)}\n".format(*rng.choices(range(5), k=3), t=topic) for _ in range(9))
        arguments = ", ".join(f"{topic}_{j}" for j in range(5))
        parts.append(f"\n\ndef measure_{topic}_{i}({arguments}):\n    total = {i}\n{steps}    return total\n")
    return "".join(parts)
