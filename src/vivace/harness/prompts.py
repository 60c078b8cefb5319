"""What the model reads before it starts. The same words in training, evaluation and the product."""

from __future__ import annotations

from vivace.core.files import digest
from vivace.core.types import Message, Task
from vivace.harness.tools.base import ROOT
from vivace.harness.tools.registry import Profile

_TERSE = "Fix the code with these tools, then call task_complete."
_FULL = f"""\
You are a coding agent at work in the repository at {ROOT}.
Look before you change: search and read until you know the cause. Make the smallest change that does what is asked, \
in the style of the code around it, and leave tests alone unless they are the request. Check your work by running the \
tests it concerns. When it is done, call task_complete with a short summary; if only a question was asked, answer it."""


def opening(task: Task, profile: Profile, native: bool) -> list[Message]:
    """The first messages of an attempt. A native model reads tool signatures, a remote one gets schemas by API."""
    system = _TERSE if profile.terse else _FULL
    if native:
        system += f"\nTools:\n{profile.signatures()}" if not profile.terse else f"\n{profile.signatures()}"
    return [Message(role="system", content=system), Message(role="user", content=task.problem_statement)]


def prompt_hash(profile: Profile) -> str:
    """Names the fixed words of the prompt, native and remote."""
    task = Task(id="", env="", repo="", split="train", licence="", problem_statement="", bug_patch="", gold_patch="",
                FAIL_TO_PASS=[], PASS_TO_PASS=[])  # fmt: skip
    return digest([[m.model_dump() for m in opening(task, profile, native)] for native in (True, False)])
