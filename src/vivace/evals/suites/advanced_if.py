"""AdvancedIF: conversations with rubrics written by people; a judge model answers every question of the rubric."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Grade, Message
from vivace.evals.graders.extract import last_object, yes_or_no
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, parsed, rows

PARTS = {"if_complex_if_oss": "complex", "if_carried_context_oss": "carried context",
         "if_system_steerability_oss": "system prompt"}
ABOUT = {
    "complex": "The last message of the user carries instructions that the response has to follow.",
    "carried context": "Instructions from earlier turns may still hold; the response has to follow all that do.",
    "system prompt": "The response has to follow the system prompt, also where the user asks for something else.",
}
JUDGE = """You check whether a response meets the requirements of a rubric. {about}

[conversation]
{conversation}

[response]
{response}

[rubric]
{rubric}

Answer every question of the rubric by what the response really contains; a requirement that is met in part is not met.
Reply with one JSON object with the keys "rubrics_check" (an object that gives for question_1, question_2, ... an
explanation that ends with YES or NO) and "SATISFIED_ALL_REQUIREMENTS" ("YES" if all of them are met, else "NO")."""
TRIES = 3


def load(path: Path) -> list[Case]:
    """Fields conversation_history (JSON), benchmark_name, prompt_metadata (JSON whose "rubrics" is JSON again)."""
    cases = []
    for at, row in enumerate(rows(path), 1):
        history, name, metadata = need(row, "conversation_history", "benchmark_name", "prompt_metadata")
        if name not in PARTS:
            raise BadInput(f"row {at}: benchmark_name {name!r} is none of {', '.join(PARTS)}")
        rubric = [str(one) for one in parsed(parsed(metadata)["rubrics"])]
        messages = [Message(role=turn["role"], content=turn["content"]) for turn in parsed(history)]
        if not rubric or not messages or messages[-1].role != "user":
            raise BadInput(f"row {at}: a rubric and a conversation that ends with the user are needed")
        digest = hashlib.sha256(json.dumps([history, rubric]).encode()).hexdigest()[:16]
        cases.append(Case(id=f"advanced-if/{digest}", cluster=PARTS[name], messages=messages,
                          target={"rubric": rubric}))
    return cases


def grade(case: Case, text: str, bench: Bench) -> Grade:
    """Solved when the judge says that all requirements are met; the share of met ones is the score `rubric`."""
    if not text.strip():
        return Grade(status="failed", scores={"rubric": 0.0}, detail="no answer")
    rubric = case.target["rubric"]
    prompt = JUDGE.format(
        about=ABOUT[case.cluster], response=text,
        conversation="\n\n".join(f"{message.role}: {message.content}" for message in case.messages),
        rubric="\n".join(f"question_{n}: {question}" for n, question in enumerate(rubric, 1)))
    for _ in range(TRIES):
        if (found := verdict(bench.ask("judge", user(prompt)), len(rubric))) is not None:
            whole, met = found
            return Grade(status="solved" if whole else "failed", scores={"rubric": met / len(rubric)},
                         detail=f"{met} of {len(rubric)} requirements")
    return Grade(status="invalid", detail=f"the judge gave no usable verdict in {TRIES} tries")


def verdict(reply: str, questions: int) -> tuple[bool, int] | None:
    """(all met, number met) of a judge's reply; None when it is not in the agreed form."""
    held = last_object(reply)
    whole = yes_or_no(held.get("SATISFIED_ALL_REQUIREMENTS")) if held else None
    if held is None or whole is None:
        return None
    checks: Any = held.get("rubrics_check")
    answers = checks if isinstance(checks, dict) else {}
    words = (str(answers.get(f"question_{n}", "")).split() for n in range(1, questions + 1))
    return whole, sum(yes_or_no(found[-1]) is True for found in words if found)


SUITE = Suite(
    Info(name="advanced-if", title="AdvancedIF", items="1,645", source="facebook/AdvancedIF (if_oss_full_data.csv)",
         licence="CC-BY-NC-4.0: not for commercial use", roles=("judge",),
         metric="share of conversations whose whole rubric is met",
         grader={"version": "1", "judge_prompt": "ours, the original's JSON fields", "tries": TRIES,
                 "no_usable_verdict": "invalid"},
         notes="Published figures use o3-mini-2025-01-31 as judge, with a prompt of its own for system prompts; some "
               "average the three parts instead."),
    load, grade,
)
