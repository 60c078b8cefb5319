"""Many packages at once: killed at any point, refused where it must be, and gone on with by the same call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_package as toy

from vivace.core.errors import BadInput
from vivace.core.files import read_jsonl
from vivace.tasks.farm import BUSY, LOCK, _held, farm
from vivace.tasks.forge import manifest_text
from vivace.tasks.sources import Manifest, PackageSource, sdist_name

HOME = Path(sys.executable)
WANTED = {"repair": 1, "question": 8}
CALL = "import sys; from pathlib import Path; from vivace.tasks.farm import farm; " \
       f"farm(Path(sys.argv[1]), [], Path(sys.argv[2]), {WANTED}, processes=1)"  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages, which need nothing that this interpreter lacks."""
    folder = tmp_path / "packages"
    folder.mkdir()
    sources = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        sdist = toy.pack(folder / name)
        sources.append(toy.source(sdist, name=name))
        sdist.rename(folder / sdist_name(sources[-1]))
    (folder / "packages.toml").write_text(manifest_text(Manifest(requirements=[], package=sources)))
    return folder / "packages.toml"


@pytest.fixture(autouse=True)
def _this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of layers, in every process: this very interpreter, found in the cache."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import pathlib, sys\nimport vivace.tasks.layers as layers\n"
        f"layers.build_environment = lambda manifest: pathlib.Path({str(HOME)!r})\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *(path for path in sys.path if path.endswith("src"))]))
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("vivace.tasks.layers.build_environment", lambda manifest: HOME)


def _rows(folder: Path) -> dict[str, list[str]]:
    return {path.parent.name: [row["id"] for row in read_jsonl(path)] for path in sorted(folder.glob("*/tasks.jsonl"))}


@pytest.mark.slow
def test_killed_and_gone_on_with(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", CALL, str(manifest), str(out)], start_new_session=True,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and sum(map(len, _rows(out).values())) < 2:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)  # the farm and its worker at once
    process.wait()
    begun = _rows(out)
    assert 2 <= sum(map(len, begun.values())) < 18
    found = farm(manifest, [], out, WANTED, processes=1)
    rows = _rows(out)
    assert found.failed == {}
    assert all(rows[name][: len(ids)] == ids for name, ids in begun.items())
    assert {name: len(set(ids)) for name, ids in rows.items()} == found.made == {"one": 9, "two": 9}
    assert found.cpu_seconds > 0
    assert found.counted == 18 - sum(map(len, begun.values()))  # a sitting that was killed has kept no account
    before = {path: path.read_bytes() for path in out.glob("*/tasks.jsonl")}
    farm(manifest, [], out, WANTED, processes=1)
    assert {path: path.read_bytes() for path in out.glob("*/tasks.jsonl")} == before


def test_a_package_in_other_hands_is_left_alone(manifest: Path, tmp_path: Path) -> None:
    with _held(tmp_path / "out" / "one") as mine:
        assert mine
        assert farm(manifest, ["one"], tmp_path / "out", {"question": 1}).busy == ["one"]
    assert (tmp_path / "out" / "one" / LOCK).exists()
    assert BUSY != 0


def test_a_worker_that_dies_is_replaced_and_then_told_of(manifest: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", []
    (out / "one").mkdir(parents=True)
    (out / "one" / "ledger.jsonl").write_text("not json\nnot json\n")
    found = farm(manifest, ["one"], out, {"question": 1}, say=said.append)
    assert "not JSON" in found.failed["one"]
    assert len(said) == 2


def test_held_out_packages_are_refused(tmp_path: Path) -> None:
    sdist = toy.pack(tmp_path)
    source = PackageSource.model_validate({**toy.source(sdist).model_dump(), "role": "eval"})
    (tmp_path / "packages.toml").write_text(manifest_text(Manifest(requirements=[], package=[source])))
    with pytest.raises(BadInput, match="held out for evaluation"):
        farm(tmp_path / "packages.toml", ["toy-stats"], tmp_path / "out", {"question": 1})
