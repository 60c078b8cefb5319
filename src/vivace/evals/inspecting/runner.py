"""Columns played by Inspect: one log a column, a sample an attempt, our harness and grader in each.

The attempts go to the same files as those of our own runner, so that a table, a comparison and a resumption do not
depend on who ran them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as run
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, mean, scorer, stderr
from inspect_ai.solver import solver

from vivace.core.errors import InfraError
from vivace.core.types import Attempt
from vivace.evals.inspecting import wire
from vivace.evals.inspecting.provider import Seen, loop_of_sample
from vivace.evals.suite import Column, Item

LOGS = "inspect"
_GRADE = "vivace_grade"


def run_columns(columns: Sequence[tuple[Column, Seen]], workers: int, logs: Path,
                watch: Callable[[Column, Attempt], None]) -> None:
    """Play what is missing in every column, one after the other.

    Raises:
        InfraError: Inspect gave up.
    """
    for column, client in columns:
        if missing := column.open():
            _run(column, client, missing, workers, logs, watch)


def _run(column: Column, client: Seen, missing: Sequence[tuple[Item, int]], workers: int, logs: Path,
         watch: Callable[[Column, Attempt], None]) -> None:
    measure = column.identity.get("grader", {}).get("measure", "")
    samples = [Sample(id=item.id if column.samples == 1 else f"{item.id} #{sample}", input=_shown(item),
                      metadata={"at": at}) for at, (item, sample) in enumerate(missing)]
    known = {key: value for key, value in column.identity.items() if key != "model"}
    task = Task(dataset=MemoryDataset(samples), solver=attempt(column, missing, watch), scorer=verdict(measure),
                metrics=[mean() if measure else accuracy(), stderr()], metadata=known,
                name=str(column.identity.get("suite", "suite")), model=client.model)
    # The live table is ours: two programs cannot redraw one terminal.
    log = run(task, log_dir=str(logs), max_samples=workers, display="none", fail_on_error=True)[0]
    if log.status != "success":
        raise InfraError(f"Inspect ended with {log.status}: {getattr(log.error, 'message', '')}; see {log.location}")


@solver  # type: ignore[untyped-decorator]
def attempt(column: Column, missing: Sequence[tuple[Item, int]], watch: Callable[[Column, Attempt], None]) -> Any:
    """Our harness: plays one attempt in a thread of its own, while its calls are recorded by Inspect."""

    async def solve(state: Any, generate: Any) -> Any:
        item, sample = missing[state.metadata["at"]]
        token = loop_of_sample.set(asyncio.get_running_loop())
        try:
            made = await asyncio.to_thread(column.one, item, sample)
        finally:
            loop_of_sample.reset(token)
        await asyncio.to_thread(column.keep, made)
        watch(column, made)
        trajectory, grade = made.trajectory, made.grade
        state.messages = wire.to_chat(trajectory.messages) or state.messages
        state.output = ModelOutput.from_content(made.model, trajectory.answer())
        state.store.set(_GRADE, grade.model_dump())
        state.metadata |= {"stop_reason": trajectory.stop_reason, "turns": trajectory.turns,
                           "usage": trajectory.usage.model_dump(), "patch": trajectory.patch,
                           "others": {role: usage.model_dump() for role, usage in made.others.items()}}
        return state

    return solve


@scorer(metrics=[accuracy(), stderr()])  # type: ignore[untyped-decorator]
def verdict(measure: str) -> Any:
    """Our grader's word; an attempt without a verdict is unscored, as it is left out of our own figures."""

    async def score(state: Any, target: Any) -> Any:
        grade = state.store.get(_GRADE)
        kept = {"status": grade["status"], **grade["scores"]}
        if grade["status"] in ("infra", "invalid"):
            return Score.unscored(explanation=grade["detail"], metadata=kept)
        solved = CORRECT if grade["status"] == "solved" else INCORRECT
        return Score(value=grade["scores"].get(measure, 0.0) if measure else solved, explanation=grade["detail"],
                     metadata=kept)

    return score


def _shown(item: Any) -> Any:
    messages = getattr(item, "messages", None)
    if messages:
        return wire.to_chat(messages)
    text = next((getattr(item, name) for name in ("prompt", "problem_statement", "instruction") if hasattr(item, name)),
                item.id)
    return text
