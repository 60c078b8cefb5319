"""Scripts that play an assistant: generators of turns that read the tools' real results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from vivace.core.types import Message, ToolCall
from vivace.harness.clients.scripted import AnswerCodec, ScriptedClient
from vivace.harness.edit.minimal import minimal_edits

Script = Generator[Message, list[str], None]
"""Yields one assistant turn at a time and is sent the results of its calls, in order."""


def scripted(codec: AnswerCodec | None, begin: Callable[[Sequence[Message]], Script], name: str) -> ScriptedClient:
    """A client that plays the script which `begin` makes of the first messages."""
    script: Script | None = None

    def policy(messages: Sequence[Message]) -> Message:
        nonlocal script
        if script is None:
            script = begin(messages)
            return next(script)
        return script.send(results(messages))

    return ScriptedClient(codec, policy, name)


def results(messages: Sequence[Message]) -> list[str]:
    """Tool results since the last answer, in order."""
    found = []
    for message in reversed(messages):
        if message.role == "assistant":
            break
        found.append(message.content)
    return found[::-1]


def turn(*calls: ToolCall, thought: str = "") -> Message:
    """One assistant turn."""
    return Message(role="assistant", content=thought, tool_calls=list(calls))


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def edits(path: str, before: str, after: str) -> list[ToolCall]:
    """The shortest unambiguous replacements that turn one text of a file into another."""
    return [call("replace_string_in_file", filePath=path, oldString=old, newString=new)
            for old, new in minimal_edits(before, after)]
