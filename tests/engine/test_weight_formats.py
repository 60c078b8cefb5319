"""bf16 and int8 weights: the step computes what a model with exactly those weights computes, with and without AVX2."""

from __future__ import annotations

import ctypes
import platform
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_decoder import tiny
from torch import Tensor
from torch.nn.functional import pad

from vivace.core.errors import BadInput
from vivace.core.types import Sampling
from vivace.engine import Engine, cpu_runner, load_client
from vivace.engine.cache import PagedCache
from vivace.engine.cpu_runner import CpuRunner
from vivace.engine.packing import GROUP, WeightFormat, quantise
from vivace.engine.runner import Piece, open_runner
from vivace.model import Decoder

NANO = Path(__file__).parents[2] / "models" / "nano-base"
FAMILIES: list[dict[str, Any]] = [
    {"hidden_size": 96, "num_shared_experts": 2},  # a group and a half
    {"hidden_size": 128, "model_type": "qwen3_moe", "mlp_layer_types": ["sparse"] * 4},
    {"hidden_size": 64, "model_type": "qwen2", "mlp_layer_types": ["dense"] * 4},
]


@pytest.fixture(scope="module", autouse=True)
def compiled() -> ctypes.CDLL:
    found = cpu_runner.library()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def rounded_int8(weight: Tensor) -> Tensor:
    groups = pad(weight, (0, -weight.shape[-1] % GROUP)).unflatten(-1, (-1, GROUP))
    scales, numbers = quantise(groups)
    return (numbers * scales.unsqueeze(-1)).flatten(-2)[..., : weight.shape[-1]]


def rounded_model(kind: WeightFormat, changes: dict[str, Any]) -> tuple[Decoder, Decoder]:
    """A model, and one whose weights are what `kind` keeps of them."""
    changes = {"tie_word_embeddings": False, **changes}
    model, kept = tiny(**changes), tiny(**changes)
    with torch.no_grad():
        for name, p in kept.named_parameters():
            if p.dim() < 2 or name.endswith("mlp.gate.weight"):
                continue
            lossy = kind == "int8" and not name.startswith("embed")
            p.copy_(rounded_int8(p) if lossy else p.bfloat16().float())
    return model, kept


def gaps(runner: CpuRunner, model: Decoder, sequences: Sequence[list[int]], step: int) -> float:
    """The largest difference in log probability, sequences side by side, `step` tokens at a time."""
    worst = 0.0
    with torch.inference_mode():
        expected = [model(torch.tensor([ids]))[0].log_softmax(-1) for ids in sequences]
        for start in range(0, len(sequences[0]), step):
            pieces = [Piece(slot, start, ids[start : start + step]) for slot, ids in enumerate(sequences)]
            tails = [len(piece.ids) for piece in pieces]
            logp = runner.step(pieces, range(len(pieces)), tails).log_softmax(-1)
            wanted = torch.cat([logits[start : start + step] for logits in expected])
            worst = max(worst, float((logp - wanted).abs().max()))
    return worst


SEQUENCES = [[random.Random(number).randrange(99) for _ in range(40)] for number in range(3)]


@pytest.mark.parametrize("changes", FAMILIES)
@pytest.mark.parametrize("kind", ["bf16", "int8"])
@pytest.mark.parametrize("step", [1, 7])
def test_the_kept_weights_are_computed_with(
    compiled: ctypes.CDLL, kind: WeightFormat, changes: dict[str, Any], step: int
) -> None:
    model, kept = rounded_model(kind, changes)
    runner = CpuRunner(model.config, model.state_dict(), PagedCache(model.config, 3, 64), compiled, 1, kind)
    # bf16 adds no rounding of its own; for int8 inputs are rounded to 16 bits, some 2e-5 of each row's largest
    assert gaps(runner, kept, SEQUENCES, step) < (1e-4 if kind == "bf16" else 2e-3)
    assert gaps(runner, model, SEQUENCES, step) > 2e-3  # those of the model itself are others


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["-march=x86-64"], ["-march=x86-64", "-mavx"]])
def test_a_machine_without_avx2(flags: list[str], tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None or "x86-64" not in subprocess.run(
            [compiler, "-dumpmachine"], capture_output=True, text=True, check=True).stdout.replace("_", "-"):
        pytest.skip("needs g++ on x86")
    built = tmp_path / "step.so"
    options = [flag for flag in cpu_runner.FLAGS if not flag.startswith("-march")]
    subprocess.run([compiler, *options, *flags, str(cpu_runner.SOURCE), "-o", str(built)], check=True)
    for kind in cpu_runner.FORMATS:
        model, kept = rounded_model(kind, FAMILIES[0])
        runner = CpuRunner(
            model.config, model.state_dict(), PagedCache(model.config, 3, 64), ctypes.CDLL(str(built)), 1, kind)
        assert gaps(runner, model if kind == "fp32" else kept, SEQUENCES, 7) < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "dot"),
    [("haswell", "vpmaddwd"), ("skylake-avx512", "vpmaddwd"), ("icelake-server", "vpdpwssd")],
)
def test_the_step_compiles_for_other_machines(machine: str, dot: str, tmp_path: Path) -> None:
    """With the instructions that the machine has: what is not here can be compiled here, though not run."""
    compiler = shutil.which("g++")
    if compiler is None or "x86" not in platform.machine():
        pytest.skip("needs g++ on x86")
    written = tmp_path / "step.s"
    options = [flag for flag in cpu_runner.FLAGS if not flag.startswith(("-march", "-shared"))]
    subprocess.run([compiler, *options, f"-march={machine}", "-S", str(cpu_runner.SOURCE), "-o", str(written)],
                   check=True)  # fmt: skip
    wide = "%ymm" if machine == "haswell" else "%zmm"
    assert any(dot in line and wide in line for line in written.read_text().splitlines())
    assert ("%zmm" in written.read_text()) == (machine != "haswell")


def test_weights_take_the_room_they_should(compiled: ctypes.CDLL) -> None:
    model = tiny(hidden_size=256, vocab_size=4096, num_experts=16, moe_intermediate_size=128)
    size = {kind: CpuRunner(model.config, model.state_dict(), PagedCache(model.config, 1, 32), compiled, 1,
                            kind).weight_bytes for kind in cpu_runner.FORMATS}  # fmt: skip
    assert size["bf16"] < 0.51 * size["fp32"]
    assert size["int8"] < 0.41 * size["fp32"]  # 8.5 bits of 32, and the embedding in bf16


def test_a_format_needs_the_compiled_runner() -> None:
    model = tiny()
    with pytest.raises(BadInput, match="int8 weights need the cpu runner"):
        open_runner(model.config, model.state_dict(), PagedCache(model.config, 1, 16), kind="torch", weights="int8")


def test_int8_says_nearly_what_fp32_says() -> None:
    """The shipped model on its own greedy text and on its own source. A group's scale leaves each weight within 1/254
    of the group's largest, which moves a token's log probability by hundredths; measured here: KL 5e-5 nats, mean
    difference 0.004. The bounds are some five times that, and far below what a lost scale or a swapped pair does. The
    greedy choice may be another one only where two tokens were nearly as likely."""
    logp = []
    ids: list[int] = []
    for weights in (None, "int8"):
        client = load_client(NANO, max_slots=2, max_len=512, threads=1, weights=weights)
        if not ids:
            prompt = [client.codec.bos, *client.codec.tokenizer.encode("import os\n\n\ndef read_lines(path):\n    ")]
            ids = [*prompt, *client.engine.generate(prompt, Sampling(temperature=0, max_tokens=120)).ids]
            ids += client.codec.tokenizer.encode(Path(__file__).read_text())[: 400 - len(ids)]
        with torch.inference_mode():
            logp.append(client.engine._runner.step([Piece(1, 0, ids)], [0], [len(ids)]).log_softmax(-1))
        client.close()
    plain, rounded = logp
    divergence = (plain.exp() * (plain - rounded)).sum(-1).mean()
    following = torch.tensor([*ids[1:], 0])[:, None]
    assert 0 < divergence < 3e-4
    assert (plain - rounded).gather(1, following)[:-1].abs().mean() < 0.02
    best = plain.topk(2).values
    differs = plain.argmax(-1) != rounded.argmax(-1)
    assert differs.float().mean() < 0.02
    assert ((best[:, 0] - best[:, 1])[differs] < 0.5).all()  # an expert swapped at a near tie moves tenths


def test_bf16_loses_nothing_of_a_bf16_checkpoint() -> None:
    answers = []
    for weights in ("fp32", "bf16"):
        client = load_client(NANO, max_slots=1, max_len=256, threads=1, weights=weights)
        ids = [client.codec.bos, *client.codec.tokenizer.encode("def read_lines(path):\n    ")]
        answers.append(client.engine.generate(ids, Sampling(temperature=0, max_tokens=100)))
        client.close()
    assert answers[0].ids == answers[1].ids
    assert answers[0].logprobs == pytest.approx(answers[1].logprobs, abs=1e-4)


def test_new_weights_are_kept_in_the_same_format(compiled: ctypes.CDLL) -> None:
    with Engine(tiny(), max_slots=1, threads=1, weights="int8") as engine:
        before = engine.generate([1, 2, 3], Sampling(temperature=0, max_tokens=20))
        engine.update_weights(tiny(seed=9))
        after = engine.generate([1, 2, 3], Sampling(temperature=0, max_tokens=20))
    with Engine(tiny(seed=9), max_slots=1, threads=1, weights="int8") as fresh:
        assert after.ids == fresh.generate([1, 2, 3], Sampling(temperature=0, max_tokens=20)).ids
    assert after.ids != before.ids
