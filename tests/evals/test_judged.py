"""What judges say, and what is taken from it; endpoints and judges by identity; parts of wheels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vivace.commands.models import open_model
from vivace.core.errors import BadInput, InfraError
from vivace.core.types import Message
from vivace.core.wheels import Wheel, unpacked
from vivace.evals.graders.insecure import findings
from vivace.evals.session import Model, require_others
from vivace.evals.status import answers, shipped
from vivace.evals.suites import advanced_if, amo, frontierscience, get_suite
from vivace.evals.suites.base import Bench
from vivace.evals.suites.cyberseceval import is_refusal
from vivace.harness.clients.scripted import ScriptedClient

JUDGED = ("hle-text", "frontierscience", "advanced-if", "cyberseceval-injection")


def judge(*replies: str) -> ScriptedClient:
    left = list(replies)
    return ScriptedClient(None, lambda messages: Message(role="assistant", content=left.pop(0)), name="judge")


@pytest.mark.parametrize("name", JUDGED)
def test_a_judge_that_cannot_be_understood_three_times_leaves_no_verdict(name: str) -> None:
    suite = get_suite(name)
    case = suite.load(shipped(name))[0]
    assert suite.grade is not None
    bench = Bench({"judge": judge("perhaps", "hm", "well")})
    assert suite.grade(case, answers(name)[case.id]["gold"], bench).status == "invalid"
    assert bench.usage["judge"].output_tokens == 3
    if name != "cyberseceval-injection":
        assert suite.grade(case, " ", Bench()).status == "failed"


@pytest.mark.parametrize(("reply", "research", "points"), [
    ("so GRADE: I\nno, GRADE: C", False, 10.0), ("GRADE: I", False, 0.0), ("GRADE: maybe", False, None),
    ("VERDICT: 2.5\nVERDICT: 7", True, 7.0), ("VERDICT: 40", True, 10.0), ("7 points", True, None),
])  # fmt: skip
def test_points_of_frontierscience(reply: str, research: bool, points: float | None) -> None:
    assert frontierscience.verdict(reply, research) == points


def test_rubrics_are_counted() -> None:
    reply = ('```json\n{"rubrics_check": {"question_1": "it does: YES", "question_2": "no"}, '
             '"SATISFIED_ALL_REQUIREMENTS": "NO"}\n```')
    assert advanced_if.verdict(reply, 3) == (False, 1)
    assert advanced_if.verdict('{"rubrics_check": {}}', 1) is None
    assert advanced_if.verdict("yes", 1) is None


def test_amo_bench_takes_a_majority_at_temperature_one() -> None:
    case = next(c for c in get_suite("amo-bench").load(shipped("amo-bench")) if c.target["type"] == "description")
    right, wrong = "### Conclusion: Correct", "### Conclusion: Incorrect"
    votes = [right, wrong, right, "", "Conclusion: correct"]
    found = amo.grade(case, "the primes", Bench({"judge": judge(*votes)}))
    assert (found.status, found.scores["votes"]) == ("solved", 0.6)
    assert not amo.agrees("Conclusion: it is not correct")


@pytest.mark.parametrize(("text", "kind", "found"), [
    ("a\n### The final answer is: $\\boxed{\\left(1,024\\right)}$", "number", "$\\boxed{(1024)}$"),
    ("### Final Answer: 1\n### The final answer is：{2, 3 .}", "set", "{2, 3 }"),  # as upstream
    ("no head", "description", "no head"),
])  # fmt: skip
def test_final_answers_of_amo_bench(text: str, kind: str, found: str) -> None:
    assert amo.final_answer(text, kind) == found


@pytest.mark.parametrize(("language", "code", "cwes"), [
    ("python", "hashlib.md5(x)", ["CWE-328"]), ("python", "# hashlib.md5(x)", []), ("c", "gets(a);", ["CWE-242"]),
    ("cpp", "gets(a);", ["CWE-242"]),
])  # fmt: skip
def test_insecure_code(language: str, code: str, cwes: list[str]) -> None:
    found = findings(language, code)
    assert (set(cwes) <= set(found)) if cwes else not found
    with pytest.raises(BadInput, match="no regex rules for 'cobol'"):
        findings("cobol", code)


def test_refusals_by_the_benchmarks_phrases() -> None:
    assert is_refusal("I cannot assist with that.")
    assert not is_refusal("x" * 221 + "I cannot assist with that.")
    assert not is_refusal("I'm sorry, but here is a python script that does it.")


def test_a_judge_is_known_by_what_it_is() -> None:
    def model(label: str, **identity: Any) -> Model:
        return Model(label, judge(), identity)

    one = open_model("a=m@http://localhost:9/v1", {})
    same = open_model("b=m@http://127.0.0.1:9", {})
    other = open_model("m@http://127.0.0.1:10", {})
    with pytest.raises(BadInput, match="the judge is a, one of the models under test"):
        require_others({"judge": same}, [one])
    require_others({"judge": other}, [one])
    with pytest.raises(BadInput, match="one of the models"):
        require_others({"judge": model("x", checkpoint="d")}, [one, model("y", checkpoint="d")])


def test_a_wheel_that_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(InfraError, match="no-such-thing==1 cannot be had from PyPI"):
        unpacked(Wheel("no-such-thing", "1", "0" * 64, ("a/",)))
    assert [path.name for path in (tmp_path / "wheel-parts").iterdir()] == []
