"""A world small enough to learn in seconds: say a given number of letters. Real engine, real loss, no sandbox."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vivace.core.protocols import Client
from vivace.core.types import Attempt, Effort, Grade, Message, Sampling, Task, Trajectory, Usage
from vivace.engine import Engine, NativeClient
from vivace.harness.transcript import Transcript
from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types
from vivace.model.decoder import Decoder
from vivace.rl.config import LengthConfig, RLConfig
from vivace.rl.train import RLResult, train_rl
from vivace.text.chat import Renderer
from vivace.text.tokenizer import Tokenizer, train_tokenizer


def toy_tokenizer() -> Tokenizer:
    return train_tokenizer(["say aaa", "say bbb"] * 3, vocab_size=280)


def toy_model(vocab: int, seed: int = 0) -> Decoder:
    return Decoder(ModelConfig(
        vocab_size=vocab, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, intermediate_size=64, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2,
        layer_types=interleaved_layer_types(2), mlp_layer_types=alternating_mlp_types(2), sliding_window=8,
        max_position_embeddings=64,
    ), seed=seed)


def toy_task(name: str, **provenance: Any) -> Task:
    return Task(id=name, env="toy", repo="toy", split="train", licence="MIT", problem_statement=f"say {name}",
                bug_patch="", gold_patch="", FAIL_TO_PASS=[], PASS_TO_PASS=[], provenance=provenance)


def solved_by(answer: str, task: Task) -> bool:
    """Task `a`: the answer must contain an a; a canary cannot be solved."""
    return task.id in answer.lower() and not task.provenance.get("canary")


def toy_play(task: Task, client: Client, *, seed: int, sample: int, max_tokens: int = 6) -> Attempt:
    """One turn, recorded by the harness's own transcript; an answer cut at the limit is a budget end."""
    record = Transcript(client.codec)
    record.add(Message(role="system", content="toy"))
    record.add(Message(role="user", content=task.problem_statement))
    ids = record.open_answer()
    completion = client.complete(record.messages, tools=[], prompt_ids=ids,
                                 sampling=Sampling(max_tokens=max_tokens, seed=seed))
    message = record.answer(completion, 0)
    cut = completion.finish_reason == "length"
    status: Any = "solved" if solved_by(message.content, task) else "budget" if cut else "failed"
    trajectory = Trajectory(task_id=task.id, messages=record.messages, segments=[record.segment], turns=1,
                            usage=Usage(output_tokens=len(completion.ids or [])))
    return Attempt(task_id=task.id, repo=task.repo, sample=sample, trajectory=trajectory, grade=Grade(status=status))


def toy_config(**more: Any) -> RLConfig:
    values: dict[str, Any] = {
        "steps": 4, "prompts": 2, "group": 8, "workers": 1, "lr": 1e-2, "warmup": 0, "micro_tokens": 400,
        "length": LengthConfig(weight=0), **more,
    }
    return RLConfig(**values)


def run_toy(
    out: Path, config: RLConfig, *, tasks: list[Task] | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
    play: Any = toy_play, rows: list[dict[str, Any]] | None = None, seed: int = 0,
) -> tuple[Decoder, RLResult]:
    tokenizer = toy_tokenizer()
    model = toy_model(tokenizer.vocab_size, seed)
    with Engine(model, max_slots=16, threads=1) as engine:
        def clients(effort: Effort | None) -> NativeClient:
            return NativeClient(engine, Renderer(tokenizer, effort), "toy")

        def both(row: dict[str, Any]) -> None:
            if rows is not None:
                rows.append(row)
            if log is not None:
                log(row)

        result = train_rl(model, engine, clients, play, tasks or [toy_task("a"), toy_task("b")], config, out, both)
    return model, result
