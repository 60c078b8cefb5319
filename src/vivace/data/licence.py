"""Licence of a wheel, as an SPDX expression read from its metadata, and the allow-list."""

from __future__ import annotations

import re
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from vivace.core.errors import BadInput

ALLOWED = frozenset({
    "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Apache-2.0", "PSF-2.0", "Python-2.0",
})  # fmt: skip
CLASSIFIERS = {
    "MIT License": "MIT", "MIT No Attribution License (MIT-0)": "MIT-0", "ISC License (ISCL)": "ISC",
    "Apache Software License": "Apache-2.0", "Python Software Foundation License": "PSF-2.0", "BSD License": "BSD",
}  # fmt: skip
SAID = (
    (re.compile(r"^(the )?mit( license)?( \(mit\))?$", re.I), "MIT"),
    (re.compile(r"^apache(-2\.0| 2\.0| license,? (version )?2\.0| software license( 2\.0)?)$", re.I), "Apache-2.0"),
    (re.compile(r"^isc( license)?$", re.I), "ISC"),
    (re.compile(r"^(2|two)-clause bsd( license)?$", re.I), "BSD-2-Clause"),
    (re.compile(r"^(3-clause |revised |new )bsd( license)?$|^bsd 3-clause( license)?$", re.I), "BSD-3-Clause"),
    (re.compile(r"^bsd( license)?$", re.I), "BSD"),
)
LICENCE_FILE = re.compile(r"\.dist-info/(licenses/)?[^/]*(LICEN[CS]E|COPYING)[^/]*$", re.I)
CONFLICT = re.compile(
    r"GNU (Lesser |Library |Affero )?General Public License|\b(A|L)?GPL(v?[23])?\b|Mozilla Public License|"
    r"CC[- ]BY-(NC|SA|ND)|Creative Commons|Code Project Open License",
)


def wheel_licence(wheel: Path) -> str:
    """SPDX expression of a wheel, from License-Expression, then License, then classifiers; BadInput where none says."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next((name for name in names if name.endswith(".dist-info/METADATA")), None)
        if metadata is None:
            raise BadInput(f"{wheel.name} has no METADATA: it is not a wheel")
        headers = HeaderParser().parsestr(archive.read(metadata).decode(errors="replace"))
        texts = [archive.read(name).decode(errors="replace") for name in names if LICENCE_FILE.search(name)]
    expression = str(headers.get("License-Expression") or "").strip()
    said = str(headers.get("License") or "").strip()
    if not expression and is_expression(said):
        expression = said
    if expression:
        return expression
    for pattern, spdx in SAID:
        if pattern.match(said):
            return _which_bsd(spdx, texts)
    lines = [str(item) for item in headers.get_all("Classifier", [])]
    classifiers = [line.split(" :: ")[-1] for line in lines if "License ::" in line]
    known = [CLASSIFIERS.get(item, f"unknown ({item})") for item in classifiers if item != "OSI Approved"]
    if not known:
        raise BadInput(f"{wheel.name} does not say its licence; leave it out of the manifest")
    return " AND ".join(_which_bsd(spdx, texts) for spdx in dict.fromkeys(known))


def is_expression(text: str) -> bool:
    """Does this read as an SPDX expression: identifiers joined by AND and OR?"""
    return bool(text) and all(
        re.fullmatch(r"[A-Za-z0-9.+-]*[-0-9][A-Za-z0-9.+-]*|MIT|ISC", part)
        for part in re.split(r"\s+(?:AND|OR)\s+|[()]", text) if part
    )


def _which_bsd(spdx: str, texts: list[str]) -> str:
    """Plain "BSD" made exact from the licence file: the third clause is the one on endorsement."""
    if spdx != "BSD":
        return spdx
    for text in texts:
        flat = " ".join(text.split())
        if "Redistribution" in flat:
            return "BSD-3-Clause" if re.search(r"endorse or promote|to endorse", flat) else "BSD-2-Clause"
    raise BadInput('"BSD" without a licence file that says which; leave the package out of the manifest')


def allowed(expression: str) -> bool:
    """Does the allow-list cover the expression? One side of an OR is enough; with parentheses, all parts."""
    if "(" in expression:
        return all(part in ALLOWED for part in re.split(r"\s+(?:AND|OR)\s+|[()\s]+", expression) if part)
    return any(
        all(part.strip() in ALLOWED for part in re.split(r"\s+AND\s+", choice))
        for choice in re.split(r"\s+OR\s+", expression)
    )


def header_conflict(text: str) -> bool:
    """Does the head of a file (its first 3,000 characters) name a licence that the package does not have?"""
    return CONFLICT.search(text[:3000]) is not None
