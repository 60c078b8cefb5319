"""The step must be the training forward, whatever way the tokens are cut up, in every runner."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_decoder import tiny

from vivace.core.errors import BadInput
from vivace.engine import cpu_runner
from vivace.engine.cache import PagedCache
from vivace.engine.runner import Piece, Runner, RunnerKind, check_state, open_runner
from vivace.model import Decoder, preset

TOLERANCE = 1e-4
KINDS: list[RunnerKind] = ["torch", "cpu"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> RunnerKind:
    if request.param == "cpu" and isinstance(reason := cpu_runner.library(), str):
        pytest.skip(reason)
    return request.param


def new_runner(model: Decoder, kind: RunnerKind, slots: int, length: int, threads: int = 1) -> Runner:
    cache = PagedCache(model.config, slots, length)
    for store in (*cache.keys, *cache.values):
        store.fill_(float("nan"))  # whatever is read before it is written shows
    runner = open_runner(model.config, model.state_dict(), cache, kind=kind, threads=threads)
    assert runner.name == kind
    return runner


def worst_gap(model: Decoder, runner: Runner, sequences: list[list[int]], cut: random.Random) -> float:
    """Feed several sequences in random pieces, interleaved; the largest gap to `Decoder.forward` in log probability."""
    with torch.inference_mode():
        expected = [model(torch.tensor([ids]))[0].log_softmax(-1) for ids in sequences]
        done, worst = [0] * len(sequences), 0.0
        while any(d < len(ids) for d, ids in zip(done, sequences)):
            left = [s for s, ids in enumerate(sequences) if done[s] < len(ids)]
            chosen = cut.sample(left, cut.randint(1, len(left)))
            ends = [done[s] + cut.choice([1, 1, 2, 5, 30]) for s in chosen]
            pieces = [Piece(s + 1, done[s], sequences[s][done[s] : end]) for s, end in zip(chosen, ends)]
            logp = runner.step(pieces, range(len(pieces))).log_softmax(-1)
            for row, piece in enumerate(pieces):
                done[piece.slot - 1] += len(piece.ids)
                worst = max(worst, float((logp[row] - expected[piece.slot - 1][done[piece.slot - 1] - 1]).abs().max()))
    return worst


SEQUENCES = [[random.Random(length).randrange(99) for _ in range(length)] for length in (1, 9, 12, 13, 50, 75, 130)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False, "norm_topk_prob": False, "routed_scaling_factor": 1.7, "vocab_size": 128},
        {"num_key_value_heads": 4, "sliding_window": 33},
        {"num_key_value_heads": 1, "sliding_window": 1, "num_experts": 40},
    ],
)
def test_any_cut_gives_the_training_forward(kind: RunnerKind, changes: dict[str, Any]) -> None:
    model = tiny(**changes)
    gap = worst_gap(model, new_runner(model, kind, len(SEQUENCES) + 1, 130), SEQUENCES, random.Random(0))
    assert gap < TOLERANCE  # a NaN fails too


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "qwen2", "mlp_layer_types": ["dense"] * 4},
        {"model_type": "qwen3", "mlp_layer_types": ["dense"] * 4, "layer_types": ["full_attention"] * 4},
        {"model_type": "qwen3_moe", "mlp_layer_types": ["sparse"] * 4},
        {"num_shared_experts": 2},
    ],
)
def test_imported_families(kind: RunnerKind, changes: dict[str, Any]) -> None:
    model = tiny(**changes)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("proj.bias"):
                p.normal_(0.0, 0.5)
    runner = new_runner(model, kind, len(SEQUENCES) + 1, 130)
    assert worst_gap(model, runner, SEQUENCES, random.Random(2)) < TOLERANCE


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_share_the_sequences(threads: int, model: Decoder) -> None:
    if isinstance(reason := cpu_runner.library(), str):
        pytest.skip(reason)
    runner = new_runner(model, "cpu", len(SEQUENCES) + 1, 130, threads)
    assert worst_gap(model, runner, SEQUENCES, random.Random(threads)) < TOLERANCE


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_a_long_prompt(threads: int) -> None:
    """Each later part waits for the keys of the earlier ones; beside it, sequences that decode."""
    if isinstance(reason := cpu_runner.library(), str):
        pytest.skip(reason)
    model = tiny(max_position_embeddings=1024)
    runner = new_runner(model, "cpu", 3, 1024, threads)
    rng = random.Random(threads)
    ids, short = ([rng.randrange(99) for _ in range(count)] for count in (900, 40))
    with torch.inference_mode():
        runner.step([Piece(1, 0, short[:39])], [0])
        expected = model(torch.tensor([ids]))[0].log_softmax(-1)
        other = model(torch.tensor([short]))[0, -1].log_softmax(-1)
        for start, end in ((0, 300), (300, 899)):
            pieces = [Piece(1, 39, short[39:]), Piece(2, start, ids[start:end])]
            cut = [share for share in cpu_runner._shares(pieces, threads) if any(share.cut)]
            assert len(cut) == threads - 1
            logp = runner.step(pieces, [1, 0], [end - start, 1]).log_softmax(-1)
            assert float((logp[:-1] - expected[start:end]).abs().max()) < TOLERANCE
            assert float((logp[-1] - other).abs().max()) < TOLERANCE


def test_parity_on_the_nano_preset_beyond_its_window(kind: RunnerKind) -> None:
    model = Decoder(preset("nano"), seed=3)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("o_proj.weight"):
                p.normal_(0.0, 0.06)
            elif name.startswith("embed"):
                p.mul_(8)
    rng = random.Random(1)
    length = model.config.sliding_window + 90
    runner = new_runner(model, kind, 2, length)
    ids = [rng.randrange(model.config.vocab_size) for _ in range(length)]
    with torch.inference_mode():
        expected = model(torch.tensor([ids]))[0].log_softmax(-1)
        assert expected.std() > 0.5  # a flat distribution would agree with anything
        for start, end in ((0, 400), (400, length - 5), *((i, i + 1) for i in range(length - 5, length))):
            logp = runner.step([Piece(1, start, ids[start:end])], [0]).log_softmax(-1)
            assert float((logp[0] - expected[end - 1]).abs().max()) < TOLERANCE


def test_only_wanted_rows_come_back(model: Decoder, kind: RunnerKind) -> None:
    runner = new_runner(model, kind, 3, 32, threads=2)
    with torch.inference_mode():
        pieces = [Piece(0, 0, [1, 2, 3]), Piece(2, 0, [4]), Piece(1, 0, [5, 6])]
        logits = runner.step(pieces, [2, 1])
        expected = torch.stack([model(torch.tensor([[5, 6]]))[0, -1], model(torch.tensor([[4]]))[0, -1]])
        assert runner.step([Piece(0, 3, [9])], []).shape == (0, model.config.vocab_size)
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)


def test_weights_are_a_copy(kind: RunnerKind) -> None:
    own = tiny()
    runner = new_runner(own, kind, 1, 16)
    with torch.inference_mode():
        before = runner.step([Piece(0, 0, [1, 2])], [0])
    with torch.no_grad():
        for p in own.parameters():
            p.zero_()
    with torch.inference_mode():
        assert torch.equal(runner.step([Piece(0, 0, [1, 2])], [0]), before)


def test_foreign_weights_are_refused(model: Decoder) -> None:
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    check_state(shapes, tiny(seed=5).state_dict())
    with pytest.raises(BadInput, match="embed_tokens"):
        check_state(shapes, tiny(vocab_size=97).state_dict())
    with pytest.raises(BadInput, match="missing"):
        check_state(shapes, {})


@pytest.fixture
def fresh_library() -> Iterator[None]:
    cpu_runner.library.cache_clear()
    yield
    cpu_runner.library.cache_clear()


@pytest.mark.usefixtures("fresh_library")
def test_without_a_compiler_torch_computes(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    cache = PagedCache(model.config, 1, 16)
    assert open_runner(model.config, model.state_dict(), cache).name == "torch"
    with pytest.raises(BadInput, match=r"install g\+\+"):
        open_runner(model.config, model.state_dict(), cache, kind="cpu")


def test_sizes_the_compiled_step_cannot_do_go_to_torch() -> None:
    model = tiny(head_dim=16)
    assert open_runner(model.config, model.state_dict(), PagedCache(model.config, 1, 16)).name == "torch"
    with pytest.raises(BadInput, match="multiples of 32"):
        open_runner(model.config, model.state_dict(), PagedCache(model.config, 1, 16), kind="cpu")
