"""From what happens in the loop to what an editor is told, in the words of the Agent Client Protocol (version 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from acp import RequestError, plan_entry, tool_content, tool_diff_content, update_plan
from acp.helpers import ToolCallContentVariant, text_block
from acp.schema import (
    AgentPlanUpdate,
    AudioContentBlock,
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    ResourceContentBlock,
    StopReason,
    TextContentBlock,
    TextResourceContents,
    ToolCallLocation,
    ToolKind,
)

from vivace.core.types import ToolCall
from vivace.harness.policy.gate import effect_of
from vivace.harness.sessions.changes import Change
from vivace.harness.tools.base import ROOT
from vivace.harness.tools.registry import TOOLS

Block = (TextContentBlock | ImageContentBlock | AudioContentBlock | ResourceContentBlock
         | EmbeddedResourceContentBlock)  # fmt: skip
_MOST_TEXT = 4000
"""Characters of a result that the editor is shown; the model reads all of it."""
_SEARCHES = ("grep_search", "file_search", "grep", "glob")
_STOPS: dict[str, StopReason] = {"complete": "end_turn", "tokens": "max_tokens", "context": "max_tokens",
                                 "cancelled": "cancelled"}  # fmt: skip


def stop_reason(reason: str) -> StopReason:
    """Why a turn ended; every other budget counts as the number of requests."""
    return _STOPS.get(reason, "max_turn_requests")


def kind_of(name: str) -> ToolKind:
    """The sort of tool, by which editors choose a symbol."""
    if name in _SEARCHES:
        return "search"
    if name not in TOOLS:
        return "other"
    kinds: dict[str, ToolKind] = {"look": "read", "edit": "edit", "command": "execute", "test": "execute",
                                  "plan": "think"}  # fmt: skip
    return kinds.get(effect_of(TOOLS[name]), "other")


def locations(call: ToolCall, repo: Path) -> list[ToolCallLocation]:
    """Files of the checkout that a call names, so that the editor can follow."""
    given = call.arguments.get("filePath") or call.arguments.get("path")
    if not isinstance(given, str) or not given:
        return []
    try:
        line = max(1, int(str(call.arguments.get("startLine"))))
    except ValueError:
        line = None
    return [ToolCallLocation(path=str(repo / given.removeprefix(ROOT).lstrip("/")), line=line)]


def shown(text: str) -> ToolCallContentVariant:
    """The beginning of a result."""
    return tool_content(text_block(text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "\n..."))


def diffs(
    before: Mapping[str, bytes | None], after: Mapping[str, bytes | None], repo: Path
) -> list[ToolCallContentVariant]:
    """What has come about between two states of a workspace's changes; files that are no text are left out.

    Contents that only one of the states has are compared with the checkout.
    """
    found: list[ToolCallContentVariant] = []
    for path in sorted({*before, *after}):
        old = before[path] if path in before else _read(repo / path)
        new = after[path] if path in after else _read(repo / path)
        if old != new and (part := _diff(repo / path, old, new)):
            found.append(part)
    return found


def change_diff(path: Path, change: Change) -> list[ToolCallContentVariant]:
    """A pending change."""
    part = _diff(path, change.before, change.after)
    return [part] if part else []


def plan_of(call: ToolCall) -> AgentPlanUpdate | None:
    """The plan that a call of `manage_todo_list` draws up."""
    todos = call.arguments.get("todoList")
    if call.name != "manage_todo_list" or not isinstance(todos, list):
        return None
    states: Mapping[str, Any] = {"in-progress": "in_progress", "completed": "completed"}
    return update_plan([plan_entry(str(todo.get("title", "")), status=states.get(str(todo.get("status")), "pending"))
                        for todo in todos if isinstance(todo, dict)])


def request_of(blocks: Sequence[Block], repo: Path) -> str:
    """The words of a prompt. Files that are linked are named in backticks, which has them attached.

    Raises:
        RequestError: it holds images or sound.
    """
    parts: list[str] = []
    for block in blocks:
        if isinstance(block, TextContentBlock):
            parts.append(block.text)
        elif isinstance(block, ResourceContentBlock):
            parts.append(f"`{_named(block.uri, repo)}`")
        elif isinstance(block, EmbeddedResourceContentBlock) and isinstance(block.resource, TextResourceContents):
            parts.append(f"\n`{_named(block.resource.uri, repo)}`:\n```\n{block.resource.text}\n```\n")
        else:
            raise RequestError(-32602, "images, sound and binary files cannot be read; send text")
    return "".join(parts).strip()


def _named(uri: str, repo: Path) -> str:
    found = urlparse(uri)
    if found.scheme != "file":
        return uri
    path = Path(unquote(found.path))
    return str(path.relative_to(repo)) if path.is_relative_to(repo) else str(path)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _diff(path: Path, old: bytes | None, new: bytes | None) -> ToolCallContentVariant | None:
    try:
        return tool_diff_content(str(path), (new or b"").decode(), None if old is None else old.decode())
    except UnicodeDecodeError:
        return None
