"""Documents: one Python file of a package, read from its wheel and cleaned."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vivace.data.config import PackagePin

VENDORED = frozenset({
    "_vendor", "vendor", "_vendored", "vendored", "_vendored_packages", "extern", "_extern", "externals", "third_party",
    "thirdparty", "_external", "migrations", "node_modules", "_distutils", "typeshed", "lib2to3", "blib2to3",
})  # fmt: skip
TESTS = re.compile(r"(^|/)(tests?|testing|unittests)/|(^|/)(test_[^/]*|[^/]*_tests?|conftest)\.py$")
LICENCE_WORDS = re.compile(r"copyright|licen[cs]e|all rights reserved|spdx-", re.I)
CODING = re.compile(r"^#.*?coding[:=]|^#!")


@dataclass(frozen=True)
class Document:
    """`path` is the path inside the wheel (`pkg/mod.py`); `text` is LF-terminated UTF-8."""

    path: str
    package: str
    version: str
    licence: str
    text: str

    @property
    def is_test(self) -> bool:
        return TESTS.search(self.path) is not None

    @property
    def nbytes(self) -> int:
        return len(self.text.encode())

    def with_text(self, text: str) -> Document:
        return replace(self, text=text)


def read_wheel(wheel: Path, pin: PackagePin) -> Iterator[Document | str]:
    """Every `.py` file of a wheel, in path order; a string names the reason where one is refused before reading on."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".py"):
                continue
            if VENDORED.intersection(name.lower().split("/")[:-1]):
                yield "vendored or migration folder"
                continue
            try:
                text = archive.read(name).decode("utf-8-sig")
            except UnicodeDecodeError:
                yield "not UTF-8"
                continue
            path = name.partition(".data/purelib/")[2] or name
            yield Document(path, pin.name, pin.version, pin.licence, text.replace("\r\n", "\n").replace("\r", "\n"))


def clean(text: str) -> str:
    """Drop a leading shebang, coding line and licence comment (the licence itself is recorded per document);
    trim blank lines at both ends. What remains is untouched, so that string literals stay what they were."""
    lines = text.split("\n")
    while lines and (not lines[0].strip() or CODING.match(lines[0])):
        lines.pop(0)
    head = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if LICENCE_WORDS.search("\n".join(lines[:head])):
        lines = lines[head:]
    return "\n".join(lines).strip("\n") + "\n"
