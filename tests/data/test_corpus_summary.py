"""The shipped manifest keeps its promises, and docs/DATA.md says what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.data.config import load_manifest
from vivace.data.licence import allowed
from vivace.data.summary import fill, licence_table, package_table

ROOT = Path(__file__).parents[2]
PINS = load_manifest(ROOT / "recipes" / "corpus.toml")
HELD_OUT = {"tabulate", "cachetools", "tomlkit", "lark", "markdown"}
BENCHMARKS = {
    "astropy", "django", "flask", "matplotlib", "pylint", "pytest", "requests", "scikit-learn", "seaborn", "sphinx",
    "sympy", "xarray", "ansible", "ansible-core", "qutebrowser",
}


def test_roles_and_licences_of_the_manifest() -> None:
    assert {pin.name for pin in PINS if pin.role == "eval"} == HELD_OUT
    assert not BENCHMARKS & {pin.name for pin in PINS}
    assert all(allowed(pin.licence) for pin in PINS)
    assert all(pin.filename.endswith("none-any.whl") for pin in PINS)


def test_the_document_matches_the_manifest() -> None:
    document = (ROOT / "docs" / "DATA.md").read_text()
    assert fill(document, "packages", package_table(PINS)) == document
    assert fill(document, "licences", licence_table(PINS)) == document
    assert f"{len(PINS)} wheels" in document


def test_fill_needs_its_markers() -> None:
    with pytest.raises(BadInput, match="generated: size"):
        fill("no markers here", "size", "x")
