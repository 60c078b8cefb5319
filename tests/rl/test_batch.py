"""Micro-batches give the loss and gradients of the plain computation, however they are cut."""

import random
from collections.abc import Sequence

import pytest
import torch

from vivace.core.types import Attempt, Forgotten, Grade, Segment, Trajectory
from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types
from vivace.model.decoder import Decoder
from vivace.rl.batch import MicroBatch, group_rows, micro_batches
from vivace.rl.config import LossConfig
from vivace.rl.loss import policy_loss
from vivace.rl.prefix import rollout_logprobs

VOCAB = 50


@pytest.fixture(scope="module")
def model() -> Decoder:
    config = ModelConfig(
        vocab_size=VOCAB, hidden_size=32, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, intermediate_size=48, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2,
        layer_types=interleaved_layer_types(6), mlp_layer_types=alternating_mlp_types(6), sliding_window=8,
        max_position_embeddings=128,
    )
    decoder = Decoder(config, seed=3)
    with torch.no_grad():
        for name, p in decoder.named_parameters():
            if name.endswith("o_proj.weight"):  # zero at the start: give attention a say
                p.normal_(0, 0.2, generator=torch.Generator().manual_seed(7))
    return decoder


def rollout(rng: random.Random, prompt: list[int], turns: int, opening: Sequence[int] = ()) -> Attempt:
    """`opening` is a first answer (sampled) of three tokens and the start of its result."""
    ids, mask = [*prompt, *opening], [0] * len(prompt) + [1, 1, 1, 0, 0, 0, 0][: len(opening)]
    for turn in range(turns):
        answer = [rng.randrange(VOCAB) for _ in range(rng.randint(2, 9))]
        ids += answer
        mask += [1] * len(answer)
        if turn + 1 < turns:
            result = [rng.randrange(VOCAB) for _ in range(rng.randint(1, 12))]
            ids += result
            mask += [0] * len(result)
    # Of the token where rollouts may agree (they would have sampled it with the same probability), random later.
    logprobs = [(-(token % 7) / 2 if i < 30 else -rng.random() * 4) if m else 0.0
                for i, (token, m) in enumerate(zip(ids, mask, strict=True))]
    segment = Segment(ids=ids, mask=mask, logprobs=logprobs, turns=[-1] * len(ids))
    return Attempt(task_id="t", repo="r", trajectory=Trajectory(task_id="t", segments=[segment], turns=turns),
                   grade=Grade(status="solved"))


@pytest.fixture(scope="module")
def group() -> list[Attempt]:
    rng = random.Random(0)
    prompt = [rng.randrange(VOCAB) for _ in range(21)]
    opening = [rng.randrange(VOCAB) for _ in range(7)]
    openings: list[list[int]] = [[], opening, opening, [], opening]
    return [rollout(rng, prompt, turns, start) for turns, start in zip((1, 2, 3, 2, 1), openings, strict=True)]


ADVANTAGES = [0.5, -0.25, 0.25, -0.5, None]


def loss_and_gradient(model: Decoder, batches: list[MicroBatch]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    total = 0.0
    for batch in batches:
        logprobs = rollout_logprobs(model, batch)
        wide = LossConfig(band=(0.0, 1e9))
        loss, _ = policy_loss(logprobs, batch.behaviour, batch.advantages, batch.weights, wide)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def written_formula(model: Decoder, group: list[Attempt], prompts: int) -> tuple[float, torch.Tensor]:
    """Row by row, from whole sequences, with no sharing and no padding."""
    model.zero_grad()
    valid = [(a.trajectory.segments[0], v) for a, v in zip(group, ADVANTAGES, strict=True) if v is not None]
    tokens = sum(sum(segment.mask) for segment, _ in valid)
    total = torch.zeros(())
    for segment, advantage in valid:
        logprobs = model.logprobs(torch.tensor([segment.ids]))[0]
        for t in range(1, len(segment.ids)):
            if segment.mask[t]:
                r = min(float((logprobs[t - 1].detach() - segment.logprobs[t]).exp()), 5.0)
                total = total - r * advantage * logprobs[t - 1] / tokens / prompts
    total.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return total.item(), gradient


@pytest.mark.parametrize(("max_tokens", "overhead"), [(1, 0), (100, 0), (10_000, 0), (10_000, 10_000)])
def test_any_split_equals_the_written_formula(
    model: Decoder, group: list[Attempt], max_tokens: int, overhead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vivace.rl.batch.BATCH_OVERHEAD", overhead)
    rows = group_rows(group, ADVANTAGES, prompts=3)
    batches = micro_batches(rows, max_tokens)
    assert len(batches) in {(1, 0): {4}, (10_000, 10_000): {1}}.get((max_tokens, overhead), {2, 3})
    loss, gradient = loss_and_gradient(model, batches)
    expected_loss, expected = written_formula(model, group, prompts=3)
    assert loss == pytest.approx(expected_loss, rel=1e-4, abs=1e-6)
    assert torch.allclose(gradient, expected, atol=2e-6)


@pytest.mark.parametrize("max_tokens", [1, 100, 10_000])
def test_answers_taken_back_are_learnt_where_they_stood(model: Decoder, group: list[Attempt], max_tokens: int) -> None:
    """Each as the row it was, of which only the answer counts; with an advantage of its own."""
    rng, with_forgotten, expected = random.Random(5), [], torch.zeros(())
    for number, attempt in enumerate(group):
        segment = attempt.trajectory.segments[0]
        places = [21, 21, len(segment.trained().ids)][: number % 4]
        gone = [Forgotten(at=at, ids=ids, mask=[0, 1, 1, 1], logprobs=[0.0, -1.0, -2.0, -0.5])
                for at in places if (ids := [rng.randrange(VOCAB) for _ in range(4)])]
        trajectory = attempt.trajectory.model_copy(update={"forgotten": gone})
        with_forgotten.append(attempt.model_copy(update={"trajectory": trajectory}))
    parts = []
    for attempt, value in zip(with_forgotten, ADVANTAGES, strict=True):
        if value is not None:
            whole = attempt.trajectory.segments[0]
            parts += [(whole, value, 0)]
            parts += [(gone.within(whole), min(value, 0) - 0.2, gone.at) for gone in attempt.trajectory.forgotten]
    tokens = sum(sum(segment.mask[skip:]) for segment, _, skip in parts)
    model.zero_grad()
    for segment, advantage, skip in parts:
        logprobs = model.logprobs(torch.tensor([segment.ids]))[0]
        for t in range(max(skip, 1), len(segment.ids)):
            if segment.mask[t]:
                r = min(float((logprobs[t - 1].detach() - segment.logprobs[t]).exp()), 5.0)
                expected = expected - r * advantage * logprobs[t - 1] / tokens / 2
    expected.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    rows = group_rows(with_forgotten, ADVANTAGES, prompts=2, price=0.2)
    assert sum(row.skip > 0 for row in rows) == 6
    plain, without = group_rows(group, ADVANTAGES, 2), group_rows(with_forgotten, ADVANTAGES, 2, price=None)
    assert [(row.advantage, row.weight, row.skip) for row in without] == [
        (row.advantage, row.weight, row.skip) for row in plain]  # the control with random rewards
    loss, got = loss_and_gradient(model, micro_batches(rows, max_tokens))
    assert loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    assert torch.allclose(got, gradient, atol=2e-6)


def test_common_starts_are_run_once_and_sampled_tokens_in_them_count_for_every_row(group: list[Attempt]) -> None:
    alike, other = [group[1], group[2]], group[3]
    (batch,) = micro_batches(group_rows(alike, [0.5, -0.5], 1), 10_000)
    assert len(batch.prefix_P) >= 27  # 21 of prompt, 7 of the same opening, less the one that predicts
    assert batch.weights[:, 20:23].gt(0).all()
    (batch,) = micro_batches(group_rows([group[1], other], [0.5, -0.5], 1), 10_000)
    assert len(batch.prefix_P) == 20


def test_given_and_sampled_tokens_are_not_taken_for_the_same() -> None:
    a, b = rollout(random.Random(0), [1, 2, 3, 4], 1), rollout(random.Random(0), [1, 2, 3, 4], 1)
    b.trajectory.segments[0].mask[4] = 0
    (batch,) = micro_batches(group_rows([a, b], [0.5, -0.5], 1), 10_000)
    assert len(batch.prefix_P) == 3


def test_unlike_prompts_share_nothing(model: Decoder) -> None:
    rng = random.Random(4)
    group = [rollout(rng, [1, 2, 3, 4], 2), rollout(rng, [9, 2, 3], 1)]
    (batch,) = micro_batches(group_rows(group, [1.0, -1.0], 1), 10_000)
    assert len(batch.prefix_P) == 0
    logprobs = rollout_logprobs(model, batch)
    for i, row in enumerate(sorted((a.trajectory.segments[0] for a in group), key=lambda s: s.ids)):
        whole = model.logprobs(torch.tensor([row.ids]))[0] * torch.tensor(row.mask[1:])
        assert torch.allclose(logprobs[i, : len(row.ids) - 1], whole, atol=1e-5)


def test_temperature_divides_the_logits(model: Decoder, group: list[Attempt]) -> None:
    batch = micro_batches(group_rows(group, ADVANTAGES, 1), 1)[0]
    whole = torch.cat([batch.prefix_P, batch.ids_BT[0]])[None]
    logits = model(whole)[0, :-1] / 0.5
    expected = torch.log_softmax(logits, -1).gather(-1, whole[0, 1:, None])[:, 0]
    got = rollout_logprobs(model, batch, temperature=0.5)[0]
    assert torch.allclose(got, expected * (batch.weights[0] > 0), atol=1e-5)


def test_weights_sum_to_one_over_prompts_and_compaction_does_not_multiply(group: list[Attempt]) -> None:
    whole = group_rows(group, ADVANTAGES, prompts=2)
    assert sum(row.weight * sum(row.segment.mask) for row in whole) == pytest.approx(1 / 2)
    first = group[2].trajectory.segments[0]
    pieces = [Segment(**{name: values[a:b] for name, values in first.model_dump().items()})
              for a, b in ((0, 30), (30, len(first.ids)))]
    cut = [*group]
    cut[2] = group[2].model_copy(update={"trajectory": Trajectory(task_id="t", segments=pieces)})
    rows = group_rows(cut, ADVANTAGES, prompts=2)
    assert len(rows) == len(whole) + 1
    assert sum(row.weight * sum(row.segment.mask) for row in rows) == pytest.approx(1 / 2)


def test_infra_and_zero_advantages_make_no_rows(group: list[Attempt]) -> None:
    assert len(group_rows(group, [0.0, None, None, None, None], 1)) == 0


def test_rollouts_that_are_all_alike(model: Decoder, group: list[Attempt]) -> None:
    """Two equal rollouts share everything: nothing is left to compute after their common start."""
    twins = [group[1], group[1]]
    (batch,) = micro_batches(group_rows(twins, [0.5, -0.25], 1), 10_000)
    segment = group[1].trajectory.segments[0].trained()
    expected = model.logprobs(torch.tensor([segment.ids]))[0] * torch.tensor(segment.mask[1:])
    got = rollout_logprobs(model, batch)
    assert got.shape == (2, len(segment.ids) - 1)
    assert torch.allclose(got, expected.expand(2, -1), atol=1e-5)


def test_a_result_after_the_last_answer_is_not_computed(model: Decoder, group: list[Attempt]) -> None:
    segment = group[0].trajectory.segments[0]
    longer = segment.model_copy(update={"ids": [*segment.ids, *[1] * 200], "mask": [*segment.mask, *[0] * 200],
                                        "logprobs": [*segment.logprobs, *[0.0] * 200],
                                        "turns": [*segment.turns, *[-1] * 200]})  # fmt: skip
    attempt = group[0].model_copy(update={"trajectory": Trajectory(task_id="t", segments=[longer])})
    (batch,) = micro_batches(group_rows([attempt], [0.5], 1), 10_000)
    assert rollout_logprobs(model, batch).shape[1] == len(segment.trained().ids) - 1
