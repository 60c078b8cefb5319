"""Whatever is wrong with the input: one line that says so, a non-zero exit, no traceback, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.chat_server import serving
from tiny_package import tiny_tokenizer, write_tree
from vivace.model.checkpoint import save_checkpoint
from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types
from vivace.model.decoder import Decoder

RECIPES = Path(__file__).parents[2] / "recipes"
FIX = "tests/test_shapes.py fails, fix it"


def refused(said: tuple[int, str, str], *words: str) -> str:
    """The one line."""
    code, _, err = said
    assert code != 0
    assert err.startswith("vivace: ")
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err
    return err


def test_a_real_process_says_one_line_too() -> None:
    code = "from vivace.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(RECIPES / "dmeo.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    line = refused((done.returncode, done.stdout, done.stderr), "no recipe at", "did you mean 'demo.toml'?")
    assert line.rstrip().endswith("did you mean 'demo.toml'?")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["--sft.trian.max_steps", "3"], ["[sft] has an unknown key 'trian'", "did you mean 'train'?"]),
        (["--sft.train.max_step", "3"], ["unknown key 'train.max_step'", "did you mean 'max_steps'?"]),
        (["--sft.mix", '[{ stge = "simple", count = 1 }]'], ["unknown key 'mix.0.stge'", "did you mean 'stage'?"]),
        (["--rl.rl.length.wieght=0.1"], ["unknown key 'rl.length.wieght'", "did you mean 'weight'?"]),
        (["--rl.limits.max_turn", "3"], ["unknown key 'limits.max_turn'", "did you mean 'max_turns'?"]),
        (["--evla.temperature", "0"], ["no stage 'evla'", "did you mean 'eval'?"]),
        (["--sft.mix.count", "3"], ["--sft.mix.count: mix is not a table", "--sft.mix"]),
        (["--sft.init.x", "3"], ["--sft.init.x: init is not a table"]),
        (["--seed", "many"], ["seed must be a whole number, not 'many'"]),
        (["--rl.rl.steps", "-1"], ["rl.steps: Input should be greater than or equal to 0", "got -1"]),
        (["--rl.rl.steps"], ["--rl.rl.steps needs a value"]),
    ],
)
def test_a_wrong_recipe_key(vivace: Callable, override: list[str], words: list[str]) -> None:
    refused(vivace("run", RECIPES / "demo.toml", "--dry-run", *override), *words)


def test_a_right_one_is_shown(vivace: Callable) -> None:
    said = vivace("run", RECIPES / "demo.toml", "--dry-run", "--rl.rl.steps", "3", "--seed=5")
    assert (said.code, said.err) == (0, "")
    shown = json.loads(said.out)
    assert (shown["rl"]["rl"]["steps"], shown["seed"]) == (3, 5)


def test_a_file_that_is_no_recipe(vivace: Callable, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b"name = \xff\n")
    refused(vivace("run", path, "--dry-run"), "r.toml is not valid TOML")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with nothing wrong."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer()
    model = Decoder(ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, intermediate_size=32, moe_intermediate_size=16, num_experts=2,
        num_experts_per_tok=1, layer_types=interleaved_layer_types(2), mlp_layer_types=alternating_mlp_types(2),
    ), seed=0)  # fmt: skip
    save_checkpoint(folder / "tiny", model, {"tokenizer.json": tokenizer.save(folder)})
    return folder / "tiny"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def uncover(path: Path) -> None:
    manifest = json.loads(path.read_text())
    del manifest["files"]["model.safetensors"]
    path.write_text(json.dumps(manifest))


DAMAGES = {
    "truncated": (truncate, "model.safetensors", "model.safetensors does not match its digest"),
    "tampered": (alter, "model.safetensors", "it was truncated or altered, restore it"),
    "another config": (alter, "config.json", "config.json does not match its digest"),
    "another tokenizer": (alter, "tokenizer.json", "tokenizer.json does not match its digest"),
    "no weights": (Path.unlink, "model.safetensors", "lacks model.safetensors; restore it"),
    "no digests": (Path.unlink, "manifest.json", "is not a checkpoint: it has no manifest.json"),
    "damaged digests": (truncate, "manifest.json", "manifest.json is damaged; restore the checkpoint"),
    "weights without digest": (uncover, "manifest.json", "does not cover model.safetensors"),
    "no folder": (lambda path: shutil.rmtree(path.parent), "config.json", "no checkpoint at"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint(vivace: Callable, whole: Path, repo: Path, tmp_path: Path, name: str) -> None:
    damage, file, words = DAMAGES[name]
    model = Path(shutil.copytree(whole, tmp_path / "model"))
    damage(model / file)
    refused(vivace("agent", FIX, "--repo", repo, "--model", model), words)


def test_a_damaged_checkpoint_in_a_recipe(vivace: Callable, whole: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(whole, tmp_path / "model"))
    truncate(model / "model.safetensors")
    recipe = tmp_path / "recipes" / "r.toml"
    write_tree(tmp_path, {"recipes/r.toml": '[sft]\nkind = "finetune"\ninit = "model"\nmix = [{ count = 1 }]\n'
                                            "train = { max_steps = 1 }\n"})  # fmt: skip
    refused(vivace("run", recipe, "--out", tmp_path / "run"), "model.safetensors does not match its digest")
    assert not (tmp_path / "run" / "sft" / "done.json").exists()


def test_a_damaged_config_is_not_shown(vivace: Callable, whole: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(whole, tmp_path / "model"))
    truncate(model / "config.json")
    refused(vivace("model", "show", model), "config.json is not JSON")
    refused(vivace("model", "show", "nanno"), "no preset 'nanno'; did you mean 'nano'?")


def endpoint(url: str, name: str = "tiny") -> list[str]:
    return ["--base-url", url, "--model", name]


NOBODY = endpoint("http://127.0.0.1:9/v1")


def test_a_repository_that_cannot_be_worked_on(vivace: Callable, repo: Path, tmp_path: Path) -> None:
    refused(vivace("agent", FIX, "--repo", tmp_path / "absent", *NOBODY), "absent is not a folder")
    refused(vivace("agent", FIX, "--repo", repo / "shapes" / "area.py", *NOBODY), "area.py is not a folder")
    bare = write_tree(tmp_path / "bare", {"mod.py": "x = 1\n"})
    refused(vivace("agent", "the tests fail, fix them", "--repo", bare, *NOBODY), "no tests in", "bare")
    refused(vivace("agent", "tests/test_x.py fails", "--repo", repo, *NOBODY), "tests/test_x.py, which is not in")


def test_a_repository_that_cannot_be_read(vivace: Callable, repo: Path) -> None:
    """Root reads everything, so a child process asks as somebody else."""
    refused(vivace("agent", FIX, "--repo", repo / "absent", *NOBODY))  # all is imported that the child will need
    repo.chmod(0o000)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
                for name in ("VIVACE_CONFIG", "VIVACE_STATE"):  # those of the tests are not open to it either
                    os.environ[name] = tempfile.mkdtemp()
            os.write(writer, json.dumps(vivace("agent", FIX, "--repo", repo, *NOBODY)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    repo.chmod(0o755)
    refused(json.loads(said), f"{repo} cannot be read; check its permissions")


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_an_endpoint_where_nobody_listens(vivace: Callable, repo: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    refused(vivace("agent", FIX, "--repo", repo, *endpoint(url)), f"cannot reach {url}", "check --base-url")
    refused(vivace("agent", FIX, "--repo", repo, *endpoint("nonsense")), "is not an address")
    refused(vivace("agent", FIX, "--repo", repo, "--base-url", url), "--base-url needs --model NAME")


def test_a_model_that_the_endpoint_does_not_have(vivace: Callable, repo: Path) -> None:
    answer = (404, {"error": {"message": "The model `nope` does not exist"}})
    with serving(answer, models=["tiny", "small"]) as server:
        said = vivace("agent", FIX, "--repo", repo, *endpoint(server.url, "nope"))
    refused(said, "has no model 'nope'; it has small, tiny")


SOURCES = '[sources]\nmanifest = "packages.toml"\n'
MANIFEST = """requirements = []
[[package]]
name = "shapes"
version = "1.0"
sha256 = "{digest}"
licence = "MIT"
role = "train"
source_dirs = ["shapes"]
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with one package, which pip finds in a folder, with another digest than it was pinned with."""
    write_tree(tmp_path, {"recipes/r.toml": SOURCES, "packages.toml": MANIFEST.format(digest="0" * 64),
                          "src/shapes/shapes/__init__.py": ""})  # fmt: skip
    archive = tmp_path / "index" / "shapes-1.0"
    archive.parent.mkdir()
    shutil.make_archive(str(archive), "gztar", tmp_path / "src")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    return tmp_path / "recipes" / "r.toml"


def test_a_package_that_does_not_match_its_hash(vivace: Callable, sources: Path, tmp_path: Path) -> None:
    said = vivace("run", sources, "--out", tmp_path / "run")
    refused(said, "shapes 1.0 does not match its pinned sha256", "do not use it")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept == []
    assert not (tmp_path / "run" / "sources" / "done.json").exists()


def test_no_disk_space(vivace: Callable, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    refused(vivace("run", sources, "--out", tmp_path / "run"), "no disk space", "5 MB are free")


def test_no_disk_space_for_a_checkpoint(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vivace.core.errors import BadInput
    from vivace.model.checkpoint import load_checkpoint

    model, _ = load_checkpoint(whole)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 100, 100))
    with pytest.raises(BadInput, match="no disk space"):
        save_checkpoint(tmp_path / "out" / "model", model)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_place_that_cannot_hold_a_run(vivace: Callable, sources: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(vivace("run", sources, "--out", tmp_path / "file"), "file: File exists")
    refused(vivace("run", sources, "--out", tmp_path / "file" / "below"), "below: Not a directory")
