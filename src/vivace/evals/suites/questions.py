"""Single-turn play: one question, one answer, one verdict. Most suites need no more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from vivace.core.errors import ContextOverflow, InfraError
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Message, Sampling, Trajectory, Usage
from vivace.evals.suites.base import Bench, Case, Setting, strip_reasoning

HARNESS = {"kind": "single-turn", "version": "3", "reasoning": "text up to the last </think> is not graded",
           "calls": "none can begin"}
_REFUSAL = re.compile(
    r"^\W*(i[’']?m sorry,? but|i am sorry,? but|sorry,? (but )?i can|i can[’']?t (help|assist|comply|provide)|"
    r"i cannot (help|assist|comply|provide)|i([’']m| am) unable to|"
    r"i (won[’']?t|will not) (help|assist|comply|provide))",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether an answer opens with one of the common refusals (a closed list: it misses veiled ones)."""
    return _REFUSAL.match(text.strip()) is not None


def play(case: Case, client: Client, grade: Callable[[Case, str, Bench], Grade], roles: Mapping[str, Client],
         setting: Setting, seed: int, sample: int) -> Attempt:
    """Ask, grade, record. Failures of endpoint, judge or sandbox come back as `infra`."""
    bench, start = Bench(roles, seed=seed), time.monotonic()
    sampling = Sampling(temperature=setting.temperature, max_tokens=setting.max_tokens, seed=seed)
    try:
        answer = client.complete(case.messages, tools=(), sampling=sampling)
    except ContextOverflow as error:
        return _attempt(case, client, sample, Trajectory(task_id=case.id, stop_reason="context", error=str(error)),
                        Grade(status="budget", detail=str(error)))
    except InfraError as error:
        return _attempt(case, client, sample, Trajectory(task_id=case.id, stop_reason="infra", error=str(error)),
                        Grade(status="infra", detail=str(error)))
    took, cut = time.monotonic() - start, answer.finish_reason == "length"
    trajectory = Trajectory(
        task_id=case.id, messages=[*case.messages, answer.message], stop_reason="tokens" if cut else "complete",
        usage=answer.usage, turns=1, seconds=took,
    )  # fmt: skip
    text = strip_reasoning(answer.message.content)
    try:
        verdict = _told_apart(grade(case, text, bench), text, cut)
    except InfraError as error:
        verdict = Grade(status="infra", detail=f"grading: {error}")
    return _attempt(case, client, sample, trajectory, verdict, bench.usage)


def _told_apart(grade: Grade, text: str, cut: bool) -> Grade:
    """Unsolved for want of tokens, or of will."""
    if grade.status != "failed":
        return grade
    if cut:
        return grade.model_copy(update={"status": "budget", "detail": f"out of tokens; {grade.detail}"})
    return grade.model_copy(update={"status": "refused"}) if refuses(text) else grade


def _attempt(case: Case, client: Client, sample: int, trajectory: Trajectory, grade: Grade,
             others: dict[str, Usage] | None = None) -> Attempt:
    return Attempt(task_id=case.id, repo=case.cluster, sample=sample, model=client.name, trajectory=trajectory,
                   grade=grade, others=others or {})


def user(text: str) -> list[Message]:
    """A conversation that is one question."""
    return [Message(role="user", content=text)]
