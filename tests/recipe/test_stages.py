"""The main job in miniature: a random model through demonstrations, training, RL, evaluation and report.

Everything is real but the size, and the two packages, which are written down here instead of downloaded.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from rich.console import Console

from tiny_package import CLEAN, tiny_layer, tiny_task, tiny_tokenizer
from vivace.cli import main
from vivace.core.files import read_jsonl
from vivace.core.run import Run
from vivace.evals.suite import read_attempts
from vivace.model.checkpoint import load_checkpoint, save_checkpoint, verify_checkpoint
from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types
from vivace.model.decoder import Decoder
from vivace.recipe import world
from vivace.recipe.config import Recipe, load_recipe
from vivace.recipe.runner import run_recipe
from vivace.recipe.stages import tasks as task_stages
from vivace.recipe.stages.table import KINDS
from vivace.tasks.layers import Layer
from vivace.tasks.registry import write_tasks
from vivace.tasks.sources import Manifest, PackageSource

pytestmark = pytest.mark.slow

RECIPE = """name = "tiny"
seed = 5

[sources]
manifest = "packages.toml"

[tasks]
train = "tasks/train.jsonl"
eval = "tasks/eval.jsonl"

[sft]
kind = "finetune"
init = "base"
mix = [{ style = "direct", count = 2 }]
context_weight = 0.1
train = { max_steps = 2, warmup_steps = 0, workers = 1 }
"""
# A coin in the place of the tests: with this seed, two rollouts of a model that solves nothing differ in reward.
REST = """
[rl]
init = "sft"
slots = 4
limits = { max_turns = 2, max_output_tokens = 16, max_turn_tokens = 8, max_test_runs = 2 }
rl = { steps = 1, prompts = 1, group = 2, workers = 2, warmup = 0, reward = "random", lr = 1e-3, seed = 16 }

[eval]
models = ["sft", "rl"]
slots = 4
limits = { max_turns = 2, max_output_tokens = 16, max_turn_tokens = 8, max_test_runs = 2 }

[report]
base = "base"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with a base model, task rows and recipes; layers come from this folder instead of the network."""
    folder = tmp_path_factory.mktemp("home")
    train = tiny_layer(folder / "layers" / "shapes")
    unseen = tiny_layer(folder / "layers" / "forms", "forms", "eval")
    layers = {layer.env: layer for layer in (train, unseen)}
    write_tasks(folder / "tasks" / "train.jsonl", [tiny_task(bug, train) for bug in ("high", "product", "words")])
    write_tasks(folder / "tasks" / "eval.jsonl", [tiny_task("low", unseen)])
    rows = "".join(_row(layer.source) for layer in layers.values())
    (folder / "packages.toml").write_text(f"requirements = []\n{rows}")
    (folder / "recipes").mkdir()
    (folder / "recipes" / "tiny.toml").write_text(RECIPE + REST)
    (folder / "recipes" / "sft.toml").write_text(RECIPE)
    tokenizer = tiny_tokenizer()
    save_checkpoint(folder / "base", base_model(tokenizer.vocab_size), {"tokenizer.json": tokenizer.save(folder)})

    def build(manifest: Manifest, packages: list[PackageSource] | None = None) -> dict[str, Layer]:
        wanted = manifest.package if packages is None else packages
        return {package.env: replace(layers[package.env], source=package) for package in wanted}

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for module in (world, task_stages):
            patch.setattr(module, "build_layers", build)
        yield folder
    torch.set_num_threads(threads)


def _row(source: PackageSource) -> str:
    keys = ("name", "version", "sha256", "licence", "role", "source_dirs")
    return "[[package]]\n" + "".join(f"{key} = {json.dumps(getattr(source, key))}\n" for key in keys)


def base_model(vocab: int) -> Decoder:
    return Decoder(ModelConfig(
        vocab_size=vocab, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, intermediate_size=48, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2,
        layer_types=interleaved_layer_types(4), mlp_layer_types=alternating_mlp_types(4), sliding_window=64,
        max_position_embeddings=2048,
    ), seed=1)  # fmt: skip


def recipe(home: Path, name: str) -> Recipe:
    return load_recipe(home / "recipes" / f"{name}.toml", [], {kind: KINDS[kind].config for kind in KINDS})


@pytest.fixture(scope="module")
def whole(home: Path) -> tuple[Path, dict[str, Any]]:
    """One run from sources to report, and its summary."""
    out = home / "runs" / "tiny"
    return out, run_recipe(recipe(home, "tiny"), out, KINDS, Console(quiet=True))


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")
            if path.is_file() and path.name != "summary.json"}  # fmt: skip


def test_every_stage_leaves_its_files(whole: tuple[Path, dict[str, Any]]) -> None:
    out, _ = whole
    expected = {
        "config.json", "metrics.jsonl", "summary.json", "MODEL_CARD.md", "report.html", "sources/packages.toml",
        "tasks/train.jsonl", "tasks/eval.jsonl", "sft/demonstrations/attempts.jsonl", "rl/rollouts.jsonl",
        *(f"eval/{name}/attempts.jsonl" for name in ("sft", "rl", "brute-force")),
        *(f"{stage}/done.json" for stage in ("sources", "tasks", "sft", "rl", "eval", "report")),
        *(f"{stage}/model/{name}" for stage in ("sft", "rl", "report")
          for name in ("model.safetensors", "config.json", "tokenizer.json", "manifest.json")),
    }  # fmt: skip
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert expected <= found
    assert not [name for name in found if "/." in f"/{name}"]  # nothing half-written is left
    done = json.loads((out / "sft" / "done.json").read_text())
    assert done["outputs"]["model/model.safetensors"] == verify_checkpoint(out / "sft" / "model")["model.safetensors"]


def test_the_summary_is_what_other_tools_read(whole: tuple[Path, dict[str, Any]]) -> None:
    out, summary = whole
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert [stage["name"] for stage in summary["stages"]] == ["sources", "tasks", "sft", "rl", "eval", "report"]
    assert all(stage["seconds"] >= 0 and stage["peak_rss_mb"] > 0 for stage in summary["stages"])
    assert list(summary["eval"]) == ["sft", "rl"]
    for row in summary["eval"].values():
        assert {"n", "pass_rate", "ci95", "tokens_mean", "tokens_per_solved"} <= row.keys()
        assert row["n"] == 1
        low, high = row["ci95"]
        assert 0 <= low <= row["pass_rate"] <= high <= 1
        assert 0 < row["tokens_mean"] <= 16
    (paired,) = [row for row in summary["paired"] if (row["a"], row["b"]) == ("sft", "rl")]
    assert {"pass_diff", "ci95", "tokens_ratio"} <= paired.keys()
    assert summary["baseline"]["n"] == 1
    assert {"pass_rate", "ci95"} <= summary["baseline"].keys()


def test_demonstrations_taught_and_rollouts_did_too(whole: tuple[Path, dict[str, Any]]) -> None:
    out, summary = whole
    stages = {stage["name"]: stage for stage in summary["stages"]}
    demonstrations = read_attempts(out / "sft" / "demonstrations").values()
    assert [attempt.grade.status for attempt in demonstrations] == ["solved", "solved"]
    assert (stages["sft"]["demonstrations"], stages["sft"]["steps"], stages["sft"]["too_long"]) == (2, 2, 0)
    assert (stages["rl"]["steps"], stages["rl"]["rollouts"], stages["rl"]["tasks"]) == (1, 2, 1)
    rows = list(read_jsonl(out / "metrics.jsonl"))
    assert [row["step"] for row in rows if row["stage"] == "sft"] == [1, 2]
    (step,) = [row for row in rows if row["stage"] == "rl"]
    assert (step["groups_used"], step["infra"]) == (1, 0)
    assert step["abs_mismatch"] < 1e-3  # the engine that sampled and the model that learns agree
    (rollout,) = read_jsonl(out / "rl" / "rollouts.jsonl")
    assert rollout["task_id"] not in {attempt.task_id for attempt in demonstrations}  # not shown before
    weights = [load_checkpoint(folder)[0].embed_tokens.weight
               for folder in (out.parents[1] / "base", out / "sft" / "model", out / "rl" / "model")]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_card_and_report_name_what_was_done(whole: tuple[Path, dict[str, Any]]) -> None:
    out, _ = whole
    card, page = (out / "MODEL_CARD.md").read_text(), (out / "report.html").read_text()
    assert "tiny-rl" in card
    assert "forms" in card
    assert (out / "report" / "model" / "README.md").read_text() == card
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "forms-low" in page


def test_attempts_of_a_model_from_elsewhere_lie_in_the_run(home: Path, whole: tuple[Path, dict[str, Any]]) -> None:
    base, out = home / "base", home / "runs" / "elsewhere"
    before = files(base)
    text = RECIPE[: RECIPE.index("[sft]")] + REST[REST.index("[eval]") : REST.index("[report]")]
    text = text.replace('["sft", "rl"]', f'["base", "{base}"]').replace('name = "tiny"', 'name = "elsewhere"')
    (home / "recipes" / "elsewhere.toml").write_text(text)
    summary = run_recipe(recipe(home, "elsewhere"), out, KINDS, Console(quiet=True))
    assert list(summary["eval"]) == ["base", str(base)]
    assert files(base) == before
    assert len(list((out / "eval").glob("*/attempts.jsonl"))) == 3


def test_a_second_call_does_nothing(whole: tuple[Path, dict[str, Any]], home: Path) -> None:
    out, summary = whole

    def never(config: Any, context: Any) -> dict[str, Any]:
        raise AssertionError(f"{context.stage.name} was run again")

    before = files(out)
    idle = {name: replace(kind, run=never) for name, kind in KINDS.items()}
    assert run_recipe(recipe(home, "tiny"), out, idle, Console(quiet=True)) == summary
    assert files(out) == before


def test_interrupted_training_goes_on_to_the_same_weights(
    whole: tuple[Path, dict[str, Any]], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C during the first step; the same recipe's second sitting makes the same model."""
    out = home / "runs" / "cut"
    log = Run.log

    def log_and_interrupt(run: Run, **row: Any) -> None:
        log(run, **row)
        if row["stage"] == "sft" and row["step"] == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "log", log_and_interrupt)
    monkeypatch.setattr(sys, "argv", ["vivace", "run", str(home / "recipes" / "sft.toml"), "--out", str(out)])
    with pytest.raises(SystemExit) as stopped:
        main()
    monkeypatch.undo()
    assert stopped.value.code == 130
    assert "interrupted; the same command goes on from here" in " ".join(capsys.readouterr().out.split())
    assert not (out / "sft" / "done.json").exists()
    assert not (out / "sft" / "model").exists()
    seconds = json.loads((out / "sft" / "seconds.json").read_text())["seconds"]
    played = (out / "sft" / "demonstrations" / "attempts.jsonl").read_bytes()
    summary = run_recipe(recipe(home, "sft"), out, KINDS, Console(quiet=True))
    assert (out / "sft" / "demonstrations" / "attempts.jsonl").read_bytes() == played  # not played again
    assert summary["stages"][-1]["seconds"] >= seconds > 0
    rows = [row["step"] for row in read_jsonl(out / "metrics.jsonl") if row["stage"] == "sft"]
    assert rows == [1, 2]
    name = "model/model.safetensors"
    assert (out / "sft" / name).read_bytes() == (whole[0] / "sft" / name).read_bytes()


IMPORTED = REST.replace('init = "sft"', 'init = "sft"\nlora = { rank = 8, alpha = 16 }')
FOREIGN: dict[str, dict[str, Any]] = {
    "Qwen3": {},
    "Qwen3Moe": {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": True},
}


@pytest.mark.parametrize("family", FOREIGN)
def test_an_imported_model_is_tuned_with_adapters_through_the_whole_recipe(
    home: Path, family: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    there, base = home / f"hub-{family}", f"imported-{family}"
    words = tokenizers.Tokenizer(tokenizers.models.BPE())
    words.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words.train_from_iterator(CLEAN.values(), tokenizers.trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=special, show_progress=False))  # fmt: skip
    torch.manual_seed(3)
    shape = getattr(transformers, f"{family}Config")(
        vocab_size=640, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=2048, **FOREIGN[family])  # fmt: skip
    getattr(transformers, f"{family}ForCausalLM")(shape).save_pretrained(there)
    words.save(str(there / "tokenizer.json"))
    monkeypatch.setattr(sys, "argv", ["vivace", "model", "import", str(there), str(home / base)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr()

    text = (RECIPE + IMPORTED).replace('init = "base"', f'init = "{base}"\nlora = {{ rank = 8 }}')
    text = text.replace('base = "base"', f'base = "{base}"').replace('name = "tiny"', f'name = "{base}"')
    (home / "recipes" / f"{base}.toml").write_text(text)
    out = home / "runs" / base
    summary = run_recipe(recipe(home, base), out, KINDS, Console(quiet=True))
    stages = {stage["name"]: stage for stage in summary["stages"]}
    assert (stages["sft"]["demonstrations"], stages["rl"]["rollouts"]) == (2, 2)
    (step,) = [row for row in read_jsonl(out / "metrics.jsonl") if row["stage"] == "rl"]
    assert step["groups_used"] == 1
    assert step["abs_mismatch"] < 1e-3
    before, after, final = (load_checkpoint(folder)[0].state_dict() for folder in
                            (home / base, out / "sft" / "model", out / "rl" / "model"))
    assert before.keys() == after.keys() == final.keys(), "adapters are merged when a stage ends"
    for early, late in ((before, after), (after, final)):
        moved = {name for name in early if not torch.equal(early[name], late[name])}
        assert moved, "training did something"
        assert not [name for name in moved if "embed" in name or "norm" in name], "only adapted matrices move"
