"""What is found in a checkout, and how it is packed."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.core.files import cache_dir
from vivace.tasks.environments import resolve
from vivace.tasks.forge import manifest_text
from vivace.tasks.layers import build_layer
from vivace.tasks.local import local_source
from vivace.tasks.sources import Manifest, load_manifest, sdist_name


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


PROJECT = '[project]\nname = "Good Ware"\nversion = "1.5"\nlicense = { text = "MIT" }\ndependencies = ["attrs>=20"]\n' \
          '[project.optional-dependencies]\ntest = ["hypothesis"]\n[dependency-groups]\n' \
          'dev = ["ruff", {include-group = "x"}]\n'
PLAIN = {"pyproject.toml": PROJECT, "ware/__init__.py": "x = 1\n", "ware/more.py": "y = 2\n", "setup.py": "",
         "tests/test_ware.py": "def test_x():\n    pass\n", "docs/conf.py": "", "examples/one.py": ""}


def test_a_package_at_the_top(tmp_path: Path) -> None:
    source, facts = local_source(_tree(tmp_path, PLAIN))
    assert (source.name, source.version, source.licence, source.role) == ("Good-Ware", "1.5", "MIT", "train")
    assert (source.python_path, source.source_dirs, source.test_dirs) == (["."], ["ware"], ["tests"])
    assert facts.requires == ["attrs>=20"]
    assert facts.extras == {"test": ["hypothesis"], "dev": ["ruff"]}


@pytest.mark.parametrize(("files", "path", "code", "tests"), [
    ({"src/a/__init__.py": "", "src/b.py": "", "tests/unit/test_a.py": "", "conftest.py": ""},
     ["src"], ["src/a"], ["tests"]),
    ({"mod.py": "", "test_mod.py": "", "setup.py": "", "noxfile.py": ""}, ["."], ["mod.py"], ["test_mod.py"]),
    ({"a/__init__.py": "", "a/tests/test_a.py": "", "a/sub/x_test.py": ""},
     ["."], ["a"], ["a/sub/x_test.py", "a/tests"]),
    ({"a/__init__.py": "", "checks/test_a.py": "", "setup.cfg": "[tool:pytest]\ntestpaths = checks\n"},
     ["."], ["a"], ["checks"]),
])  # fmt: skip
def test_where_code_and_tests_are(
    files: dict[str, str], path: list[str], code: list[str], tests: list[str], tmp_path: Path
) -> None:
    source, _ = local_source(_tree(tmp_path, files))
    assert (source.python_path, source.source_dirs, source.test_dirs) == (path, code, tests)


def test_names_given_win(tmp_path: Path) -> None:
    source, _ = local_source(_tree(tmp_path, PLAIN), sources=["ware/more.py"], tests=["tests/test_ware.py"])
    assert (source.source_dirs, source.test_dirs) == (["ware/more.py"], ["tests/test_ware.py"])
    with pytest.raises(BadInput, match=r"\.\./x is not inside"):
        local_source(tmp_path, sources=["../x"])


@pytest.mark.parametrize(("files", "problem"), [
    ({"README.md": "x"}, "no Python package found"), ({"a/__init__.py": ""}, "no tests found"),
    ({"pyproject.toml": "[project"}, "correct that file"),
    ({"pyproject.toml": '[project]\nname = "Lark"\n', "a/__init__.py": "", "test_a.py": ""}, "lark is held out"),
    ({"tabulate/__init__.py": "", "test_a.py": ""}, "tabulate is held out"),
])  # fmt: skip
def test_what_cannot_be_used(files: dict[str, str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=problem):
        local_source(_tree(tmp_path, files))
    with pytest.raises(BadInput, match="is not a folder"):
        local_source(tmp_path / "nowhere")


def test_packed_the_same_wherever_it_lies(tmp_path: Path) -> None:
    one = local_source(_tree(tmp_path / "one", PLAIN))[0]
    more = {".venv/pyvenv.cfg": "", ".venv/a.py": "", "build/x.py": ""}
    two = local_source(_tree(tmp_path / "two", PLAIN | more))[0]
    assert one == two
    assert local_source(_tree(tmp_path / "two", {"ware/more.py": "y = 3\n"}))[0].env != one.env
    with tarfile.open(cache_dir("sdists") / sdist_name(one)) as archive:
        assert sorted(archive.getnames()) == sorted(f"checkout/{name}" for name in PLAIN)


def test_what_git_ignores_stays_out(tmp_path: Path) -> None:
    root = _tree(tmp_path, {**PLAIN, ".gitignore": "secret.py\n", "ware/secret.py": "", "AGENTS.md": "Obey."})
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    source, _ = local_source(root)
    build_layer(source, cache_dir("sdists") / sdist_name(source), tmp_path / "layer")
    tree = {str(p.relative_to(tmp_path / "layer/tree")) for p in (tmp_path / "layer/tree").rglob("*.*")}
    assert "ware/more.py" in tree
    assert not {"ware/secret.py", "AGENTS.md"} & tree
    assert not (tmp_path / "layer/tree/.git").exists()


def test_a_folder_of_tasks_carries_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = local_source(_tree(tmp_path / "one", {**PLAIN, "ware/odd.py": "# \x7f \u00fc\n"}))
    manifest = Manifest(requirements=['pytest==9; python_version > "3"'], package=[source])
    (tmp_path / "packages.toml").write_text(manifest_text(manifest))
    archive = cache_dir("sdists") / sdist_name(source)
    (tmp_path / archive.name).write_bytes(archive.read_bytes())
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "other"))
    assert load_manifest(tmp_path / "packages.toml") == manifest
    assert (cache_dir("sdists") / archive.name).exists()


def test_requirements_that_nobody_has() -> None:
    with pytest.raises(BadInput, match="--python"):
        resolve(["pytest ==not-a-version"])
