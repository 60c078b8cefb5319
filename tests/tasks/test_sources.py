import os
import tomllib
from pathlib import Path

import pytest
import toy_package as toy

from vivace.core.errors import BadInput
from vivace.core.files import sha256_file
from vivace.core.progress import Progress
from vivace.tasks import sources
from vivace.tasks.sources import HELD_OUT, PackageSource, fetch_sdists, load_manifest

MANIFEST, CORPUS = Path("recipes/packages.toml"), Path("recipes/corpus.toml")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip is configured to take packages from, and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TOY_MARK", str(tmp_path / "mark"))
    return folder


def test_a_source_comes_through_pips_configuration_and_is_never_built(index: Path, tmp_path: Path) -> None:
    package = toy.source(toy.pack(index))
    path = fetch_sdists([package])[package.name]
    assert path.read_bytes() == (index / "toy_stats-1.2.tar.gz").read_bytes()
    assert not (tmp_path / "mark").exists()
    (index / "toy_stats-1.2.tar.gz").unlink()
    assert fetch_sdists([package])[package.name] == path  # cached: the index is not asked again


def test_a_download_that_does_not_match_its_hash_is_refused(index: Path) -> None:
    package = toy.source(toy.pack(index), sha256="0" * 64)
    with pytest.raises(BadInput, match=r"^toy-stats 1\.2 does not match its pinned sha256") as caught:
        fetch_sdists([package])
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="does not match"):  # nothing of it was kept
        fetch_sdists([package])


def test_a_damaged_cache_is_fetched_again(index: Path) -> None:
    package = toy.source(toy.pack(index))
    path = fetch_sdists([package])[package.name]
    path.write_bytes(path.read_bytes()[:100])
    assert len(fetch_sdists([package])[package.name].read_bytes()) > 100


def test_an_unknown_version_is_one_clear_line(index: Path) -> None:
    with pytest.raises(BadInput, match=r"no package index has a source distribution of toy-stats 9\.9"):
        fetch_sdists([toy.source(toy.pack(index), version="9.9")])


def test_no_network_and_no_cache_is_one_clear_line(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = toy.source(toy.pack(index))
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(BadInput, match="no package index answers, and it is not in the cache") as caught:
        fetch_sdists([package])
    assert "\n" not in str(caught.value)


SLOW_PIP = '''import json, pathlib, sys, time
first, second = json.load(sys.stdin)
seen = pathlib.Path(sys.argv[0]).with_name("seen")
pathlib.Path(first["path"]).write_bytes(b"one")
print(json.dumps({"name": first["name"], "problem": ""}), flush=True)
for _ in range(300):
    if seen.exists():
        break
    time.sleep(0.1)
print(json.dumps({"name": second["name"], "problem": "absent" if seen.exists() else "nobody looked"}), flush=True)
'''


def test_the_bar_moves_with_every_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "slow_pip.py").write_text(SLOW_PIP)
    monkeypatch.setattr(sources, "DOWNLOADER", tmp_path / "slow_pip.py")
    monkeypatch.setattr(Progress, "advance", lambda bar, amount, note: (tmp_path / "seen").write_text(note))
    (tmp_path / "one").write_bytes(b"one")
    first = PackageSource(name="first", version="1", sha256=sha256_file(tmp_path / "one"), licence="MIT", role="train",
                          source_dirs=["a"])
    with pytest.raises(BadInput, match="has a source distribution of second 1"):
        fetch_sdists([first, first.model_copy(update={"name": "second"})])
    assert (tmp_path / "seen").read_text() == "first"


def test_the_shipped_manifest_is_split_as_it_must_be() -> None:
    manifest = load_manifest(MANIFEST)
    assert len(manifest.role("train")) >= 30
    assert {package.name for package in manifest.role("eval")} == HELD_OUT
    assert len({package.env for package in manifest.package}) == len(manifest.package)
    assert manifest.by_env(manifest.named("toolz").env).name == "toolz"
    assert all("==" in requirement for requirement in manifest.requirements)


def test_some_training_packages_are_in_no_corpus() -> None:
    """On their tasks nothing can be remembered; a corpus that took one of them in would undo that for ever."""
    corpus = {row["name"].lower().replace("_", "-") for row in tomllib.loads(CORPUS.read_text())["package"]}
    unseen = {"unidiff", "addict", "json5", "furl", "pyhocon", "jsonlines", "email-validator", "dpath",
              "jsonpointer", "munch", "webcolors", "mistletoe", "titlecase", "ordered-set", "rstr", "astor",
              "deepmerge", "pathvalidate"}  # fmt: skip
    assert unseen <= {package.name for package in load_manifest(MANIFEST).role("train")}
    assert not unseen & corpus


def _package(**fields: object) -> str:
    values = {"name": "a", "version": "1", "sha256": "0" * 64, "licence": "MIT", "role": "train", **fields}
    return "[[package]]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items()) + 'source_dirs = ["a"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("requirements = [", "correct that line"),
        (f"requirements = []\n{_package(sha256='short')}", "package.0.sha256"),
        (f"requirements = []\n{_package(sorce='x')}", "package.0.sorce"),
        (f"requirements = []\n{_package()}{_package()}", "a listed twice"),
        (f"requirements = []\n{_package(name='tabulate')}", "held out for evaluation"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "packages.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        load_manifest(path)


def test_a_missing_manifest_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no manifest at"):
        load_manifest(tmp_path / "none.toml")
    manifest = load_manifest(MANIFEST)
    with pytest.raises(BadInput, match="no package 'nope'"):
        manifest.named("nope")
    with pytest.raises(BadInput, match="of another manifest"):
        manifest.by_env("nope-1")


def test_the_environments_name_does_not_depend_on_the_role() -> None:
    package = PackageSource(name="a", version="1", sha256="0" * 64, licence="MIT", role="train", source_dirs=["a"])
    assert package.env == package.model_copy(update={"role": "eval"}).env
    assert package.env != package.model_copy(update={"drop": ["docs"]}).env
