"""Attempts made by hand: what a harness would have written, with chosen verdicts and token counts."""

from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Attempt, Grade, Message, Segment, ToolCall, ToolOutcome, Trajectory, Usage
from vivace.evals.graders import browser

PATCH = "--- a/pkg/mod.py\n+++ b/pkg/mod.py\n@@ -1,3 +1,3 @@\n def f(a, b):\n-    return a - b\n+    return a + b\n \n"


def make_attempt(
    task_id: str = "t0", repo: str = "alpha", status: Any = "solved", tokens: int = 100, sample: int = 0,
    hashes: dict[str, str] | None = None, stop: Any = "complete", test_runs: int = 2, model: str = "",
) -> Attempt:
    call = ToolCall(name="edit", arguments={"path": "pkg/mod.py", "old": "a - b", "new": "a + b"}, id="call_0")
    messages = [
        Message(role="system", content="You repair code."), Message(role="user", content="f(1, 2) <gives> -1 & not 3"),
        Message(role="assistant", content="The sign is wrong.", tool_calls=[call]),
        Message(role="tool", content="edited", tool_call_id="call_0", name="edit"),
        Message(role="assistant", content="Fixed."),
    ]
    segment = Segment(ids=[3, 20, 21, 5, 30, 31, 2], mask=[0, 0, 0, 0, 1, 1, 1],
                      logprobs=[0, 0, 0, 0, -0.1, -2.5, -0.01], turns=[-1, -1, -1, -1, 0, 0, 0])
    trajectory = Trajectory(
        task_id=task_id, messages=messages, segments=[segment], outcomes=[ToolOutcome(tool="edit", kind="ok")],
        patch=PATCH, stop_reason=stop, usage=Usage(input_tokens=900, output_tokens=tokens), turns=2,
        test_runs=test_runs, seconds=1.5, hashes=hashes or {},
    )
    grade = Grade(status=status, detail="" if status == "solved" else "1 test still fails")
    return Attempt(task_id=task_id, repo=repo, sample=sample, model=model, trajectory=trajectory, grade=grade)


def has_browser() -> bool:
    try:
        return browser.browser().exists()
    except BadInput:
        return False
