"""Labels of steps and their use: looks that were used, masks, and shaping that cannot be farmed."""

from __future__ import annotations

import pytest

from vivace.core.errors import BadInput
from vivace.core.types import Attempt, Grade, Message, Segment, ToolCall, ToolOutcome, Trajectory
from vivace.harness.supervision import BOUND, kept_mask, label_counts, labels, shaped, shaping

PATCH = "--- a/m.py\n+++ b/m.py\n@@ -1,1 +1,1 @@\n-    return low + high\n+    return low - high\n"


def _turn(name: str, result: str, kind: str = "ok", **arguments: str) -> tuple[ToolCall, str, str]:
    return ToolCall(name=name, arguments=arguments), result, kind


def _trajectory(*turns: tuple[ToolCall, str, str], answer: str = "") -> Trajectory:
    messages = [Message(role="user", content="Fix it.")]
    outcomes = []
    for number, (call, result, kind) in enumerate(turns):
        messages += [Message(role="assistant", tool_calls=[call]), Message(role="tool", content=result)]
        outcomes.append(ToolOutcome(tool=call.name, kind=kind, turn=number))
    if answer:
        messages.append(Message(role="assistant", content=answer))
    return Trajectory(task_id="t", messages=messages, outcomes=outcomes, patch=PATCH, turns=len(turns))


EDIT = _turn("replace_string_in_file", "edited", filePath="m.py", oldString="    return low + high",
             newString="    return low - high")  # fmt: skip


def test_looks_are_informative_if_an_edit_rests_on_them() -> None:
    found = labels(_trajectory(
        _turn("grep_search", "other.py:3:    unrelated = True", query="unrelated"),
        _turn("read_file", "12:    return low + high\n13:", filePath="m.py"),
        _turn("read_file", "12:    return low + high", filePath="m.py", startLine="12"),  # it was known by then
        _turn("read_file", "ERROR: no such file", "not_found", filePath="n.py"), EDIT,
        _turn("grep_search", "m.py:12:    return low - high", query="low")))
    assert found == ["ok", "informative", "ok", "failed", "ok", "ok"]


def test_looks_are_informative_if_the_answer_rests_on_them() -> None:
    found = labels(_trajectory(_turn("grep_search", "src/m.py:7:def parse_all(text):", query="parse_all"),
                               answer="It is\ndef parse_all(text):"))  # fmt: skip
    assert found == ["informative", "ok"]


def test_masks_by_label() -> None:
    segment = Segment(ids=[1, 2, 3, 4, 5], mask=[0, 1, 1, 1, 0], logprobs=[0.0] * 5, turns=[-1, 0, 1, 2, -1])
    assert kept_mask(segment, ["informative", "failed", "ok"]) == [0, 1, 0, 1, 0]
    assert kept_mask(segment, ["informative", "failed", "ok"], drop={"ok"}) == [0, 1, 1, 0, 0]
    with pytest.raises(BadInput, match="2 labels for 3 turns"):
        kept_mask(segment, ["ok", "ok"])


def test_shaping_is_gated_and_bounded() -> None:
    assert shaping(["informative"] * 3, solved=False) == 0.0
    assert shaping(["informative"] * 3, solved=True) == pytest.approx(0.03)
    assert shaping(["repeated", "informative"], solved=False) == pytest.approx(-0.02)
    assert shaping(["informative"] * 99, solved=True) == BOUND
    assert shaping(["repeated"] * 99, solved=True) == -BOUND
    worst_solved = 1 + shaping(["wasted"] * 99, solved=True)
    best_failed = 0 + shaping(["informative"] * 99, solved=False)
    assert worst_solved - best_failed > 0.8


def test_groups() -> None:
    look = _turn("read_file", "12:    return low + high\n13:", filePath="m.py")
    good, slow = _trajectory(look, EDIT), _trajectory(look, look, EDIT)
    attempts = [Attempt(task_id="t", repo="r", trajectory=one, grade=Grade(status="solved")) for one in (good, slow)]
    plain = [1.0, 1.0]
    found = shaped(plain, attempts)
    assert found[0] == pytest.approx(1.01)
    assert found[1] == pytest.approx(0.99)
    assert shaped(plain, attempts, weight=0.0) == plain
    assert shaped([None, 1.0], attempts)[0] is None
    assert label_counts([good, slow]) == {"ok": 2, "informative": 2, "failed": 0, "repeated": 1, "wasted": 0}
