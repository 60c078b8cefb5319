"""The command line as its users meet it: arguments in, exit code and both outputs back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tiny_package import checkout, tiny_layer, tiny_task
from vivace.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


Vivace = Callable[..., Said]


@pytest.fixture
def vivace(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Vivace:
    """Runs `main` with these arguments in this process, with a cache of its own."""
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VIVACE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "60")  # a narrow terminal must not break what is shown
    for name in ("VIVACE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["vivace", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A checkout with one failing test."""
    layer = tiny_layer(tmp_path / "layer")
    return checkout(tiny_task("high", layer), layer, tmp_path / "shapes")
