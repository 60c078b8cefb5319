"""Rubrics by program: each criterion falls for what it is about, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from vivace.core.types import Message, Task
from vivace.harness.clients.scripted import ScriptedClient
from vivace.sandbox import make_patch
from vivace.tasks.judging import QUESTIONS, Example, calibrate, calibration, judged, kappa
from vivace.tasks.layers import Layer
from vivace.tasks.rubrics import CRITERIA, Work, listed, scores
from vivace.tasks.workspaces import buggy_files

PATH = "src/toy/stats.py"


@pytest.fixture
def broken(task: Task, layer: Layer) -> str:
    return buggy_files(task, layer)[PATH] or ""


def _scores(task: Task, layer: Layer, after: dict[str, str], answer: str = "clamp is mended.") -> dict[str, float]:
    before = {PATH: buggy_files(task, layer)[PATH] or ""}
    known = [path for path in after if path != PATH and (layer.root / path).is_file()]
    before |= {path: (layer.root / path).read_text() for path in known}
    named = task.model_copy(update={"provenance": {"functions": ["clamp"]}})
    return scores(Work(named, layer, make_patch(before, {**before, **after}), answer))


def test_the_reference_has_full_marks(task: Task, layer: Layer, broken: str) -> None:
    found = _scores(task, layer, {PATH: broken.replace("value < high", "value > high")})
    assert found == {**dict.fromkeys((one.name for one in CRITERIA), 1.0), "rubric": 1.0}
    assert len(listed(CRITERIA).split("\n")) == len(CRITERIA)


@pytest.mark.parametrize(("criterion", "changes"), [
    ("files", {"src/toy/texts.py": "x = 1\n"}),
    ("tests untouched", {"tests/test_stats.py": "def test_a():\n    pass\n"}),
    ("no leftovers", {"scratch.py": "x = 1\n"}), ("no trick", {"src/toy/extra.py": "import sys\nsys.modules.pop(1)\n"}),
])  # fmt: skip
def test_other_files(criterion: str, changes: dict[str, str], task: Task, layer: Layer, broken: str) -> None:
    found = _scores(task, layer, {PATH: broken.replace("value < high", "value > high"), **changes})
    assert found[criterion] < 1.0
    assert found["rubric"] < 1.0


@pytest.mark.parametrize(("criterion", "line"), [
    ("no leftovers", "    print(value)"), ("no leftovers", "    # TODO later"), ("no leftovers", "    breakpoint()"),
    ("nothing silenced", "    except Exception: pass"), ("nothing silenced", "    x = 1  # noqa"),
    ("layout", "    x = 1   "), ("layout", "    x = " + "1 + " * 60 + "1"), ("layout", "\tx = 1"),
    ("parses", "    def ("),
])  # fmt: skip
def test_lines(criterion: str, line: str, task: Task, layer: Layer, broken: str) -> None:
    fixed = broken.replace("value < high", "value > high")
    good = fixed.replace("    if value < low:", "    low = low\n    if value < low:")
    bad = fixed.replace("    if value < low:", f"{line}\n    if value < low:")
    assert _scores(task, layer, {PATH: good})[criterion] == 1.0
    assert _scores(task, layer, {PATH: bad})[criterion] < 1.0


def test_size_and_words(task: Task, layer: Layer, broken: str) -> None:
    fixed = broken.replace("value < high", "value > high")
    assert _scores(task, layer, {PATH: fixed + "\n\nX = 1\n" * 20})["size"] < 0.5
    assert _scores(task, layer, {PATH: fixed}, "Done.")["told"] == 0.0
    assert _scores(task, layer, {PATH: fixed}, "Mended stats.py")["told"] == 1.0
    assert "told" not in _scores(task, layer, {}, "Done.")


def _judge(answers: Sequence[dict[str, str] | str]) -> ScriptedClient:
    left = list(answers)

    def reply(messages: Sequence[Message]) -> Message:
        one = left.pop(0) if len(left) > 1 else left[0]
        return Message(role="assistant", content=one if isinstance(one, str) else f"So: {json.dumps(one)}")

    return ScriptedClient(None, reply, "judge")


def test_a_judge_is_asked_twice_at_most() -> None:
    every = {str(n): "yes" for n in range(1, len(QUESTIONS) + 1)}
    assert judged(_judge(["hm", every]), "r", "p", "a") == [True] * 4
    assert judged(_judge(["hm", {"1": "no", "2": "maybe"}]), "r", "p", "a") == [False, None, None, None]


def test_a_judge_is_calibrated() -> None:
    right = _judge([{str(n): "yes" if good else "no" for n, good in enumerate(one.answers, 1)}
                    for one in calibration()])  # fmt: skip
    assert calibrate(right).good
    yes = calibrate(_judge([{str(n): "yes" for n in range(1, 5)}]))
    assert (yes.kappa, yes.good) == (0.0, False)
    silent = calibrate(_judge(["?"]), [Example("r", "p", "a", (True, False, True, True))])
    assert (silent.unanswered, silent.questions, silent.good) == (4, 4, False)
    for column in zip(*(one.answers for one in calibration())):
        assert set(column) == {True, False}  # each question is met and not met


def test_kappa() -> None:
    assert kappa([(True, True), (False, False)]) == 1.0
    assert kappa([(True, False), (False, True)]) == -1.0
    assert kappa([(True, True), (True, False), (False, True), (False, False)]) == 0.0
