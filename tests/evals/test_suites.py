import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from attempts_by_hand import has_browser

from vivace.core.errors import BadInput, ModelError
from vivace.core.files import read_jsonl
from vivace.core.types import Completion, Message, Usage
from vivace.evals.graders import mathematics
from vivace.evals.session import Model, Plan, chosen, evaluate
from vivace.evals.status import answers, check, shipped
from vivace.evals.suites import MODULES, get_suite
from vivace.evals.suites.aime2026 import boxed, final_answer
from vivace.evals.suites.base import Bench, Setting, strip_reasoning
from vivace.evals.suites.frontiermath import plain
from vivace.evals.suites.hle import verdict
from vivace.evals.suites.questions import refuses
from vivace.evals.suites.rows import resolve, rows
from vivace.evals.suites.vivace_bench import limits

QUESTIONS = [name for name in MODULES if name != "vivace-bench"]
SLOW = {"frontiermath-format", "swebench-verified", "swebench-multilingual", "swebench-pro", "amo-bench",
        "artifacts-bench", "secrepobench"}

ONE_ITEM = {"swebench-verified", "swebench-multilingual", "swebench-pro", "cyberseceval-injection", "secrepobench"}
"""Their sample is a single authored item; every other suite has two at least."""


class Answers:
    """A client that knows the authored answers of one kind; it can fail, and say how it was cut."""

    codec = None

    def __init__(self, suite: str, kind: str, **more: Any) -> None:
        self.name, self.calls = kind, Counter[str]()
        cases = get_suite(suite).load(shipped(suite))
        self.known = {case.messages[-1].content: answers(suite)[case.id][kind] for case in cases}
        self.more = more

    def complete(self, messages: Any, **rest: Any) -> Completion:
        self.calls[messages[-1].content] += 1
        if self.more.get("down"):
            raise ModelError("down")
        text = self.more.get("text") or self.known[messages[-1].content]
        return Completion(message=Message(role="assistant", content=text), usage=Usage(output_tokens=len(text.split())),
                          finish_reason=self.more.get("finish", "stop"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
                                  for name in QUESTIONS])
@pytest.mark.usefixtures("no_engine")
def test_gold_scores_one_and_wrong_scores_zero(name: str) -> None:
    if name == "artifacts-bench" and not has_browser():
        pytest.skip("no Chromium")
    found = check(get_suite(name))
    assert (found.gold, found.wrong, found.problem) == (1.0, 0.0, "")
    assert found.items >= 2 or (name in ONE_ITEM and found.items == 1)


def plan(out: Path, clients: list[Any], suite: str = "aime2026", **more: Any) -> Plan:
    models = [Model(f"m{i}", client, {"n": i}) for i, client in enumerate(clients)]
    data = {suite: (shipped(suite), "sample")}
    return Plan([get_suite(suite)], data, models[0], models[1:], {}, out, workers=2, **more)


def test_two_models_side_by_side_and_nothing_twice(tmp_path: Path) -> None:
    wrong, gold = Answers("aime2026", "wrong"), Answers("aime2026", "gold")
    result, whole = evaluate(plan(tmp_path, [wrong, gold], repeats=2))
    row = result["suites"]["aime2026"]["differences"]["m1"]
    assert whole
    assert (row["n"], row["pass_diff"]) == (3, 1.0)
    assert set(gold.calls.values()) == {2}
    assert "AIME 2026 (authored sample)" in (tmp_path / "evaluation.md").read_text()
    evaluate(plan(tmp_path, [wrong, gold], repeats=2))
    assert set(gold.calls.values()) == {2}
    with pytest.raises(BadInput, match="another limits"):
        evaluate(plan(tmp_path, [wrong, gold], max_tokens=7))


@pytest.mark.parametrize(("more", "status"), [
    ({"finish": "length", "text": "so far"}, "budget"), ({"text": "I'm sorry, but I can't help with that."}, "refused"),
    ({"text": "<think>ANSWER: 24"}, "failed"),
])  # fmt: skip
def test_why_an_attempt_is_not_solved(tmp_path: Path, more: dict[str, Any], status: str) -> None:
    result, _ = evaluate(plan(tmp_path, [Answers("aime2026", "gold", **more)]))
    assert result["suites"]["aime2026"]["models"]["m0"]["statuses"] == {status: 3}


def test_a_suite_with_a_judge_needs_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs a judge model; name one with --judge"):
        evaluate(plan(tmp_path, [Answers("hle-text", "gold")], suite="hle-text"))


def test_a_judge_without_a_verdict_leaves_the_attempt_invalid() -> None:
    case = get_suite("hle-text").load(shipped("hle-text"))[0]
    judge = Answers("aime2026", "gold", text="yes, probably")
    bench, grade = Bench({"judge": judge}), get_suite("hle-text").grade
    assert grade is not None
    assert grade(case, "Answer: A5", bench).status == "invalid"
    assert bench.usage["judge"].output_tokens == 3 * 2
    assert verdict('so {"correct": "no", "confidence": "80%", "reasoning": "r"}') == (False, 0.8, "r")
    assert verdict('{"correct": "maybe"}') is None


def test_a_single_turn_is_the_demos_evaluation() -> None:
    def held(*setting: Any) -> tuple[int, ...]:
        found = limits(Setting(*setting))
        return (found.max_turns, found.max_output_tokens, found.max_turn_tokens, found.max_test_runs, found.take_backs)

    assert held(120, 0.3, 1) == (1, 120, 120, 1, 0)
    assert held(400, 0.3) == (20, 400, 120, 5, 20)
    assert held(400, 0.0) == (20, 400, 120, 5, 0)  # greedy, what is taken back would be drawn again


def test_a_larger_limit_adds_to_a_smaller() -> None:
    cases = get_suite("aime2026").load(shipped("aime2026"))
    assert {c.id for c in chosen(cases, 1)} < {c.id for c in chosen(cases, 2)}


def test_answers_are_found_as_written() -> None:
    assert boxed("a \\boxed{\\frac{1}{2}} b") == "\\frac{1}{2}"
    assert final_answer("ANSWER: 1\nANSWER: $\\boxed{2}$") == "\\boxed{2}" or final_answer(
        "ANSWER: 1\nANSWER: $\\boxed{2}$") == "2"
    assert strip_reasoning("<think>ANSWER: 3</think> ANSWER: 4") == "ANSWER: 4"
    assert refuses("I cannot assist with this.")
    assert not refuses("I cannot see why the sum is not 4.")


@pytest.mark.parametrize("text", [
    "__import__('os')", "Integer.mro()", "[x for x in Y]", "lambda: 1", "system('x')", "S('print(1)')",
    "Tuple('print(1)')",
])  # fmt: skip
def test_only_plain_values_leave_the_sandbox(text: str) -> None:
    assert not plain(text)
    assert plain("Mul(Rational(1, 6), Pow(pi, Integer(2)))")


def test_data_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="40 digits"):
        resolve("hub:math-ai/aime26@main")
    with pytest.raises(BadInput, match="did you mean aime2026"):
        get_suite("aime202")
    (tmp_path / "x.jsonl").write_text('{"problem": "p"}\n')
    with pytest.raises(BadInput, match="no field 'id'"):
        get_suite("aime2026").load(tmp_path / "x.jsonl")
    with pytest.raises(BadInput, match="no data at"):
        rows(tmp_path / "none.csv")


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_runs_and_table import make_task
from attempts_by_hand import make_attempt
from vivace.evals.suite import Column, run_columns
out = Path({out!r})
def play(item, seed, sample):
    time.sleep(0.02)
    return make_attempt(item.id, sample=sample)
column = Column([make_task(f"t{{i}}") for i in range(60)], play, out, {{"model": "m"}}, samples=2)
run_columns([column], 4)
"""


def test_sigkill_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent), out=str(tmp_path))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    log = tmp_path / "attempts.jsonl"
    for lines in (5, 40):
        process = subprocess.Popen([sys.executable, "-c", script], env=env)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and log.read_bytes().count(b"\n") >= lines):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 40 <= log.read_bytes().count(b"\n") < 120
    subprocess.run([sys.executable, "-c", script], env=env, check=True)
    keys = Counter((row["task_id"], row["sample"]) for row in read_jsonl(log))
    assert len(keys) == 120
    assert set(keys.values()) == {1}


def test_a_comparison_ends_by_processor_time_not_by_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "PATIENCE_S", 1.0)
    judge = mathematics.MathJudge()
    try:
        assert not judge.either_way("$3$", "$\\boxed{\\sum_{n=1}^{99999999} \\sin(n)^n}$")
        assert judge.equal("$\\frac12$", "$0.5$")
    finally:
        judge.close()
