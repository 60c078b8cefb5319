import io
import os
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
import toy_package as toy

from vivace.core.errors import BadInput
from vivace.sandbox import Sandbox
from vivace.tasks.extract import SETTLED, extract
from vivace.tasks.layers import Layer, build_environment, build_layer
from vivace.tasks.sources import Manifest


def test_a_layer_is_the_clean_tree_without_what_must_not_be_there(layer: Layer) -> None:
    files = {str(path.relative_to(layer.root)) for path in layer.root.rglob("*") if path.is_file()}
    plain = {path for path in files if "__pycache__" not in path}
    assert plain == set(toy.FILES) - {"AGENTS.md", ".github/copilot-instructions.md", "docs/index.rst"}
    assert {int(path.stat().st_mtime) for path in layer.root.rglob("*.py")} == {SETTLED}


def test_what_counts_as_source_and_what_is_restored(layer: Layer) -> None:
    assert layer.is_source("src/toy/stats.py")
    assert layer.is_source("src/toy/new_module.py")
    for path in ("tests/test_stats.py", "conftest.py", "src/toy/conftest.py", "pytest.ini", "pytest.py", "src/json.py"):
        assert not layer.is_source(path), path


def test_the_package_is_imported_from_the_workspace_and_knows_its_version(layer: Layer, sandbox: Sandbox) -> None:
    code = "import importlib.metadata as m, toy; print(toy.__file__, m.version('toy-stats'))"
    with layer.workspace(sandbox) as workspace:
        result = workspace.exec([str(layer.python), "-c", code])
        assert result.output.split() == [f"{workspace.mount}/src/toy/__init__.py", "1.2"]


def test_bytecode_never_outlives_an_edit(layer: Layer, sandbox: Sandbox) -> None:
    assert list((layer.root / "src/toy/__pycache__").glob("stats.*.pyc"))
    code = "from toy.stats import clamp; print(clamp(11))"
    path = "src/toy/stats.py"
    with layer.workspace(sandbox) as workspace:
        assert workspace.exec([str(layer.python), "-c", code]).output == "10\n"
        workspace.write_text(path, workspace.read_text(path).replace("> high", "< high"))  # same size
        os.utime(workspace.root / path, (SETTLED, SETTLED))  # same time
        assert workspace.exec([str(layer.python), "-c", code]).output == "11\n"


def test_a_layer_that_lacks_what_the_manifest_says_leaves_nothing(tmp_path: Path) -> None:
    sdist = toy.pack(tmp_path)
    with pytest.raises(BadInput, match=r"no src/none in its sdist"):
        build_layer(toy.source(sdist, source_dirs=["src/none"]), sdist, tmp_path / "home")
    assert os.listdir(tmp_path) == [sdist.name]


@pytest.mark.parametrize("name", ["../outside.py", "toy/../../outside.py", "/etc/outside.py"])
def test_an_archive_that_leaves_its_folder_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    sdist = tmp_path / "evil.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        member = tarfile.TarInfo(f"toy/{name}" if name.startswith("..") else name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    folder = tmp_path / "deep" / "tree"
    with suppress(BadInput):  # refused, or put inside: either will do
        extract(sdist, folder)
    assert not [path for path in tmp_path.rglob("outside.py") if not path.is_relative_to(folder)]
    assert not Path("/etc/outside.py").exists()


def test_a_broken_archive_is_one_clear_line(tmp_path: Path) -> None:
    sdist = tmp_path / "broken.tar.gz"
    sdist.write_bytes(toy.pack(tmp_path).read_bytes()[:200])
    with pytest.raises(BadInput, match="cannot be unpacked"):
        extract(sdist, tmp_path / "tree")


@pytest.mark.slow
def test_the_environment_is_made_of_pinned_wheels_and_never_of_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    _wheel(tmp_path / "helper-1.0-py3-none-any.whl", "helper")
    for key, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(key, value)
    manifest = Manifest(requirements=["helper==1.0"], package=[])
    python = build_environment(manifest)
    assert build_environment(manifest) == python
    assert (python.parent.parent / f"lib/python3.{sys.version_info[1]}/site-packages/helper.py").exists()
    with pytest.raises(BadInput, match="cannot install test-time dependencies: No matching distribution"):
        build_environment(Manifest(requirements=["helper==2.0"], package=[]))
    _wheel(tmp_path / "toy_stats-1.2-py3-none-any.whl", "toy_stats", "1.2")
    both = Manifest(requirements=["toy-stats==1.2"], package=[toy.source(toy.pack(tmp_path))])
    with pytest.raises(BadInput, match="would contain toy-stats"):
        build_environment(both)


def _wheel(path: Path, name: str, version: str = "1.0") -> None:
    import zipfile

    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
