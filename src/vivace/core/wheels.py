"""Parts of other packages that graders need: taken out of a pinned wheel, without installing it or what it depends on.

SWE-bench's parsers come with docker, modal and datasets, CyberSecEval's rules with semgrep, NLTK's English data with an
index framework. What is used of them needs none of that.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

from vivace.core.errors import InfraError
from vivace.core.files import cache_dir, place_folder

_lock = threading.Lock()


@dataclass(frozen=True)
class Wheel:
    """A distribution with its version, the digest of its pure wheel, and the parts of it that are kept."""

    name: str
    version: str
    sha256: str
    parts: tuple[str, ...]
    """Beginnings of the paths inside the wheel."""

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"


def unpacked(wheel: Wheel) -> Path:
    """Folder with the parts of a wheel, fetched with pip once and kept in the cache.

    Raises:
        InfraError: pip cannot fetch it, or gets another file than the one that was pinned.
    """
    target = cache_dir("wheel-parts") / f"{wheel.name}-{wheel.version}-{wheel.sha256[:12]}"
    with _lock:
        if not target.is_dir():
            _fetch(wheel, target)
    return target


def _fetch(wheel: Wheel, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest",
                   scratch, wheel.pin]
        done = subprocess.run(command, capture_output=True, text=True)
        found = list(Path(scratch).glob("*.whl"))
        if done.returncode or not found:
            raise InfraError(f"{wheel.pin} cannot be had from PyPI ({' '.join(done.stderr.split())[-120:]}); its parts "
                             "are needed for grading")
        if hashlib.sha256(found[0].read_bytes()).hexdigest() != wheel.sha256:
            raise InfraError(f"{found[0].name} is not the file that was pinned, and another would not grade alike")
        folder = Path(scratch) / "parts"
        with zipfile.ZipFile(found[0]) as archive:
            for name in archive.namelist():
                if name.startswith(wheel.parts) and not name.endswith("/"):
                    archive.extract(name, folder)
        place_folder(folder, target)
