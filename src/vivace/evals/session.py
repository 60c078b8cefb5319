"""One evaluation: suites × models, played together, and the table at the end. Knows clients only."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import atomic_write_text, write_json
from vivace.core.protocols import Client
from vivace.core.types import Attempt
from vivace.evals import cardtable
from vivace.evals.board import Board
from vivace.evals.runs import SuiteRun
from vivace.evals.suite import Column, run_columns
from vivace.evals.suites import questions
from vivace.evals.suites.base import Setting, Suite
from vivace.evals.suites.rows import data_digest
from vivace.harness.limits import Prices, cost
from vivace.sandbox import open_sandbox

RESULT, PAGE = "evaluation.json", "evaluation.md"


@dataclass(frozen=True)
class Model:
    """A client under its label; `identity` is what tells it from every other model (a digest, an address)."""

    label: str
    client: Client
    identity: Mapping[str, Any]
    prices: Prices | None = None


@dataclass
class Budget:
    """What an evaluation may use in one sitting; None is no limit. Attempts under way finish."""

    tokens: int | None = None
    seconds: float | None = None
    dollars: float | None = None
    _tokens: int = 0
    _dollars: float = 0.0
    _start: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, attempt: Attempt, prices: Prices | None) -> None:
        usage = attempt.trajectory.usage
        with self._lock:
            self._tokens += usage.output_tokens
            if prices:
                self._dollars += cost(usage, prices)

    def spent(self) -> bool:
        return ((self.tokens is not None and self._tokens >= self.tokens)
                or (self.dollars is not None and self._dollars >= self.dollars)
                or (self.seconds is not None and time.monotonic() - self._start >= self.seconds))


@dataclass(frozen=True)
class Plan:
    """What is to be run. `data` holds a local path and the words that name it, by suite."""

    suites: Sequence[Suite]
    data: Mapping[str, tuple[Path, str]]
    baseline: Model
    models: Sequence[Model]
    roles: Mapping[str, Model]
    out: Path
    limit: int | None = None
    repeats: int = 1
    seed: int = 0
    temperature: float = 0.0
    max_tokens: int | None = None
    turns: int = 0
    workers: int = 8
    command: str = ""
    """As a person would type it; kept beside the figures."""
    inspect: bool = False
    """Let Inspect run it, and keep its logs in `out`/inspect."""


def evaluate(plan: Plan, budget: Budget | None = None) -> tuple[dict[str, Any], bool]:
    """Play what is missing and write evaluation.json and evaluation.md. (result, whether all of it was played).

    Raises:
        BadInput: no data, no model for a role, or a folder of other attempts.
        InfraError: a model has no verdict at all on a suite.
    """
    budget = budget or Budget()
    require_others(plan.roles, (plan.baseline, *plan.models))
    plan = _seen(plan) if plan.inspect else plan
    with ExitStack() as stack:
        columns = {(suite.info.name, model.label): _column(plan, suite, model, stack)
                   for suite in plan.suites for model in (plan.baseline, *plan.models)}
        prices = {model.label: model.prices for model in (plan.baseline, *plan.models)}
        for column in columns.values():
            column.open()  # refuse before anything is paid for
        with Board(list(columns.values())) as board:

            def watch(column: Column, attempt: Attempt) -> None:
                budget.count(attempt, prices[column.out.name])
                board.update(column)

            whole = _run(plan, columns, watch, budget)
    files = {suite.info.name: suite.files for suite in plan.suites if suite.files}
    for (suite_name, label), column in columns.items():
        if suite_name in files:
            files[suite_name](column.out, column.attempts())
        if column.done and not any(attempt.grade.verdict for attempt in column.done.values()):
            last = column.attempts()[-1]
            raise InfraError(f"{label} has no verdict on {suite_name}: {last.trajectory.error or last.grade.detail}")
    result = {"command": plan.command, **table_of(plan, columns)}
    write_json(plan.out / RESULT, result)
    atomic_write_text(plan.out / PAGE, cardtable.markdown(result))
    return result, whole


def _seen(plan: Plan) -> Plan:
    """The same plan with clients whose calls Inspect records."""
    try:
        from vivace.evals.inspecting.provider import Seen
    except ImportError:
        raise BadInput("--inspect needs Inspect: pip install 'vivace[inspect]'") from None

    def seen(model: Model) -> Model:
        return replace(model, client=Seen(model.client, plan.workers))

    return replace(plan, baseline=seen(plan.baseline), models=[seen(one) for one in plan.models],
                   roles={role: seen(one) for role, one in plan.roles.items()})


def _run(plan: Plan, columns: Mapping[tuple[str, str], Column], watch: Callable[[Column, Attempt], None],
         budget: Budget) -> bool:
    if not plan.inspect:
        return run_columns(list(columns.values()), plan.workers, watch=watch, spent=budget.spent)
    from vivace.evals.inspecting import runner

    clients: dict[str, Any] = {model.label: model.client for model in (plan.baseline, *plan.models)}
    runner.run_columns([(column, clients[label]) for (_, label), column in columns.items()], plan.workers,
                       plan.out / runner.LOGS, watch)
    return True


def table_of(plan: Plan, columns: Mapping[tuple[str, str], Column]) -> dict[str, Any]:
    """The figures of a plan's columns."""

    def run(suite: Suite, model: Model) -> SuiteRun:
        column = columns[suite.info.name, model.label]
        return SuiteRun(column.out, {**column.identity, "seed": plan.seed}, column.attempts())

    return cardtable.build(
        {suite.info.name: (run(suite, plan.baseline), [run(suite, model) for model in plan.models])
         for suite in plan.suites},
        {suite.info.name: suite.info.clustered for suite in plan.suites},
        {model.label: model.prices for model in (plan.baseline, *plan.models) if model.prices},
        {suite.info.name: suite.info.title + (" (authored sample)" if plan.data[suite.info.name][1] == "sample" else "")
         for suite in plan.suites},
    )


def chosen(items: Sequence[Any], limit: int | None) -> list[Any]:
    """The first `limit` items of an order that depends on their identities only: a larger limit adds to a smaller."""
    if limit is None or limit >= len(items):
        return list(items)
    return sorted(items, key=lambda item: random.Random(item.id).random())[:limit]


def _column(plan: Plan, suite: Suite, model: Model, stack: ExitStack) -> Column:
    info = suite.info
    if missing := [role for role in info.roles if role not in plan.roles]:
        raise BadInput(f"{info.name} needs a {missing[0]} model; name one with --{missing[0]}")
    path, words = plan.data[info.name]
    items = suite.load(path)
    if len({item.id for item in items}) < len(items):
        raise BadInput(f"{path} holds an item twice; delete one of them")
    setting = Setting(plan.max_tokens or info.max_tokens, plan.temperature, plan.turns)
    wanted = chosen(items, plan.limit)
    clients = {role: other.client for role, other in plan.roles.items()}
    play: Callable[[Any, int, int], Attempt]
    if suite.session is not None:
        play = stack.enter_context(suite.session(wanted, model.client, clients, setting))
    else:
        assert suite.grade is not None
        grade = suite.grade

        def play(item: Any, seed: int, sample: int) -> Attempt:
            return questions.play(item, model.client, grade, clients, setting, seed, sample)

    identity = {
        "suite": info.name, "data": {"source": words, "digest": data_digest(path)},
        "grader": {**info.grader, **(suite.found() if suite.found else {})},
        "harness": dict(suite.harness(setting) if suite.harness else questions.HARNESS),
        "limits": {"max_tokens": setting.max_tokens, "turns": setting.turns},
        "sampling": {"temperature": setting.temperature, "top_p": 1.0},
        "roles": {role: dict(plan.roles[role].identity) for role in info.roles},
        "sandbox": isolation(suite), "model": dict(model.identity),
    }
    return Column(wanted, play, plan.out / info.name / model.label, identity, plan.repeats, plan.seed,
                  f"{info.name} {model.label}")


def isolation(suite: Suite) -> str:
    """The isolation that code runs in, where a suite runs any."""
    return open_sandbox().name if suite.info.sandboxed else ""


def require_others(roles: Mapping[str, Model], models: Sequence[Model]) -> None:
    """BadInput when a judge or simulator is one of the models under test, whatever it is called here."""
    for role, other in roles.items():
        if same := next((model for model in models if dict(model.identity) == dict(other.identity)), None):
            raise BadInput(f"the {role} is {same.label}, one of the models under test; name another one")
