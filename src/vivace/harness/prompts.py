"""What the model reads before it starts. The same words in training, evaluation and the product."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from html import escape

from vivace.core.files import digest
from vivace.core.types import Message, Task
from vivace.harness.attachments import Attachment
from vivace.harness.tools.base import ROOT
from vivace.harness.tools.registry import Profile

_TERSE = "Fix the code with these tools, then call task_complete."
_TERSE_ANSWER = "Answer the question about the code. These tools only look:"
_FULL = f"""\
You are a coding agent at work in the repository at {ROOT}.
Look before you change: search and read until you know the cause. Make the smallest change that does what is asked, \
in the style of the code around it, and leave tests alone unless they are the request. Check your work by running the \
tests it concerns. When it is done, call task_complete with a short summary; if only a question was asked, answer it."""
_MINI = f"""\
You are a coding agent at work in the repository at {ROOT}, with a shell and nothing else.
Look before you change, make the smallest change that does what is asked, and check your work by running the tests it \
concerns. When it is done, answer with a short summary and without a call."""
_ANSWER = f"""\
You answer questions about the repository at {ROOT}. You can search and read, and change nothing.
Go from broad to narrow, several looks at once where they do not depend on each other. Answer briefly, from what you \
have read, and name files with the lines that show it. If it is not there, say so."""
_PLAN = f"""\
You plan a change of the repository at {ROOT}. You can search and read, and change nothing.
Find out what the change touches, then answer with the plan: the files with what is to be changed in each, how it will \
be tested, and what is uncertain."""
_PURPOSES = {"answer": _ANSWER, "plan": _PLAN}


def system_message(profile: Profile, native: bool) -> Message:
    """What every conversation begins with. A native model reads tool signatures, a remote one gets schemas by API."""
    system = _PURPOSES.get(profile.purpose) or (_MINI if profile.name == "mini" else _FULL)
    if profile.terse:
        system = _TERSE_ANSWER if profile.purpose == "answer" else _TERSE
    if native:
        system += f"\nTools:\n{profile.signatures()}" if not profile.terse else f"\n{profile.signatures()}"
    return Message(role="system", content=system)


def opening(task: Task, profile: Profile, native: bool, attached: Sequence[Attachment] = ()) -> list[Message]:
    """The first messages of an attempt."""
    request = task.problem_statement + _attached(attached, profile.terse)
    return [system_message(profile, native), Message(role="user", content=request)]


def _attached(attached: Sequence[Attachment], terse: bool) -> str:
    if not attached:
        return ""
    if terse:
        return "".join(f"\n{one.path}:{one.line}\n{one.text}" for one in attached)
    blocks = [f'<attachment id="{escape(one.name)}" filePath="{escape(posixpath.join(ROOT, one.path))}" '
              f'startLine="{one.line}">\n{one.text}\n</attachment>' for one in attached]
    return "\n\n<attachments>\n" + "\n".join(blocks) + "\n</attachments>"


def prompt_hash(profile: Profile) -> str:
    """Names the fixed words of the prompt, native and remote, and the form of attachments."""
    task = Task(id="", env="", repo="", split="train", licence="", problem_statement="", bug_patch="", gold_patch="",
                FAIL_TO_PASS=[], PASS_TO_PASS=[])  # fmt: skip
    sample = [Attachment("f", "m.py", 1, "def f(): ...")]
    return digest([[m.model_dump() for m in opening(task, profile, native, sample)] for native in (True, False)])
