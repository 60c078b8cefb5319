"""A session: a conversation about one checkout and the changes it has led to, had back from its log at any time."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput, VivaceError
from vivace.core.types import Message, Segment, Trajectory, Usage
from vivace.harness.apply import Checkout
from vivace.harness.limits import add_usage
from vivace.harness.policy import protected
from vivace.harness.sessions import changes as changing
from vivace.harness.sessions.changes import UNKNOWN, Change, Changes
from vivace.harness.sessions.log import Row, SessionLog, open_log
from vivace.sandbox import Workspace

INTERRUPTED = "ERROR: interrupted; it is not known whether this was run. Look at the files before you go on."


@dataclass
class State:
    """What a branch of the log comes to. `message_rows`: the row of each message. `past`: conversations that were
    summed up before this one. `pending`: changes (digests before
    and after, by path) that are in no checkout yet."""

    messages: list[Message] = field(default_factory=list)
    message_rows: list[int] = field(default_factory=list)
    segment: Segment = field(default_factory=Segment)
    past: list[tuple[list[Message], Segment]] = field(default_factory=list)
    pending: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    prompts: list[Row] = field(default_factory=list)
    turns: list[Row] = field(default_factory=list)
    applied: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        match row["type"]:
            case "message":
                self.messages.append(Message.model_validate(row["message"]))
                self.message_rows.append(row["id"])
                _extend(self.segment, Segment.model_validate(row.get("piece") or {}))
                self._files(row)
            case "prompt":
                self.prompts.append(row)
                self.remarks = []
                self._files(row)
            case "remark":
                self.remarks.append(row["text"])
            case "settings":
                self.settings = row["settings"]
            case "system":
                self.messages[0] = Message(role="system", content=row["content"])
            case "compacted":
                self.past.append((self.messages, self.segment))
                self.messages = [Message.model_validate(message) for message in row["messages"]]
                self.message_rows = [row["id"]] * len(self.messages)
                self.segment = Segment.model_validate(row["segment"])
            case "segment":
                self.segment = Segment.model_validate(row["segment"])
            case "turn":
                self.turns.append(row)
            case "apply":
                self.applied.append(row)
            case "applied":
                if row.get("failed"):
                    self.applied.pop()
                self._files(row)

    def _files(self, row: Row) -> None:
        if row.get("files") is not None:
            self.pending = {path: (pair[0], pair[1]) for path, pair in row["files"].items()}


class Session:
    """Everything of one session; `log` is its file. Close it, or use it as a context."""

    def __init__(self, log: SessionLog) -> None:
        self.log = log
        self.notices: list[str] = []
        """What the user should be told of what happened on opening."""
        self._load()
        self._recover()

    @classmethod
    def create(cls, repo: Path) -> Session:
        return cls(SessionLog.create(repo.resolve()))

    @classmethod
    def resume(cls, name: str) -> Session:
        """An earlier session, also one whose process was killed."""
        return cls(open_log(name))

    def fork(self) -> Session:
        """A session of its own that begins where this one is; this one stays as it is."""
        new = SessionLog.create(self.log.repo, forked_from=f"{self.log.name}:{self.log.leaf}")
        for row in self.log.branch()[1:]:
            for digest in _digests(row):
                new.keep(self.log.contents(digest))
            new.append(row["type"], **{key: value for key, value in row.items()
                                       if key not in ("id", "parent", "type", "time")})
        return Session(new)

    @property
    def repo(self) -> Path:
        return self.log.repo

    @property
    def usage(self) -> Usage:
        """Tokens of all turns, those undone too: they were paid for."""
        total = Usage()
        for row in self.log.rows:
            if row["type"] == "turn":
                total = add_usage(total, Usage.model_validate(row["usage"]))
        return total

    @property
    def seconds(self) -> float:
        return float(sum(row["seconds"] for row in self.log.rows if row["type"] == "turn"))

    def pending(self) -> Changes:
        """Changes the agent has made that are in no checkout yet."""
        return {path: Change(None if pair[0] == UNKNOWN else self.log.contents(pair[0]), self.log.contents(pair[1]),
                             pair[0] != UNKNOWN) for path, pair in self.state.pending.items()}

    # What happens in a turn, as it happens.

    def begin(self, text: str, settings: Mapping[str, Any]) -> None:
        """A turn begins with this request; `undo` goes back to here."""
        self._append("prompt", text=text, files=self._pairs(self.pending()))
        if dict(settings) != self.state.settings:
            self._append("settings", settings=dict(settings))

    def restore(self, workspace: Workspace) -> list[str]:
        """Give a fresh workspace on the checkout the pending changes; returns the files where they no longer fit, whose
        changes are dropped (they stay in the log)."""
        fitting, lost = changing.rebase(self.repo, self.pending())
        workspace.reset({path: change.after for path, change in fitting.items()})
        files = self._pairs(fitting)
        if files != self._state_files():
            self._append("applied", files=files, dropped=lost)
        return lost

    def record(self, message: Message, piece: Segment, workspace: Workspace, checkout: Checkout) -> None:
        """A message, and the files after it."""
        row: dict[str, Any] = {"message": message.model_dump(exclude_defaults=True)}
        if piece.ids:
            row["piece"] = piece.model_dump()
        if message.role == "tool":
            files = self._pairs(self._made(workspace, checkout))
            if files != self._state_files():
                row["files"] = files
        self._append("message", **row)

    def system(self, content: str) -> None:
        """The conversation goes on with another system message (another model, or other tools)."""
        self._append("system", content=content)
        self._append("segment", segment=Segment().model_dump())

    def rendered(self, segment: Segment) -> None:
        """The ids of the conversation so far, rendered anew."""
        self._append("segment", segment=segment.model_dump())

    def compacted(self, messages: Sequence[Message], segment: Segment) -> None:
        """The conversation goes on with these messages alone."""
        self._append("compacted", messages=[message.model_dump(exclude_defaults=True) for message in messages],
                     segment=segment.model_dump())

    def forget(self, kept: int) -> None:
        """Only the first `kept` messages are left."""
        self._move(self.state.message_rows[kept - 1] if kept else 0, "taken back")

    def abandon(self, leaf: int) -> None:
        """The request at hand came to nothing: as if it had not been made."""
        self._move(leaf, "abandoned")

    def end(self, trajectory: Trajectory) -> None:
        """A turn is over."""
        self._append("turn", stop_reason=trajectory.stop_reason, usage=trajectory.usage.model_dump(),
                     seconds=trajectory.seconds, turns=trajectory.turns, error=trajectory.error,
                     outcomes=[outcome.model_dump() for outcome in trajectory.outcomes], hashes=trajectory.hashes)

    def unanswered(self) -> list[Message]:
        """Results for calls whose own were lost when the process was killed."""
        messages = self.state.messages
        last = next((at for at in reversed(range(len(messages))) if messages[at].role == "assistant"), None)
        if last is None:
            return []
        answered = sum(message.role == "tool" for message in messages[last + 1 :])
        return [Message(role="tool", content=INTERRUPTED, tool_call_id=call.id, name=call.name)
                for call in messages[last].tool_calls[answered:]]

    def remark(self, text: str) -> None:
        """Something the model is told with the next request."""
        self._append("remark", text=text)

    # What the user decides.

    def apply(
        self, chosen: Changes, kept: Changes, agreed: Container[str] = (), more: Sequence[str] = ()
    ) -> None:
        """Write `chosen` into the checkout, all or nothing; `kept` stays pending, the rest of it is dropped.

        Args:
            agreed: files run later by the host (`policy.protected`) that the user has agreed to, each by itself.
            more: patterns of files that count as such.
        Raises:
            BadInput, InfraError: as `apply_changes`, or a file may not be written; nothing has changed.
        """
        protected.refuse(chosen, agreed, more)
        self._apply(chosen, kept, None)

    def undo(self) -> str:
        """Take back the latest request with all that came of it, in the conversation and in the files; returns its
        text.

        Raises:
            BadInput: there is none, or a file it had changed was changed since.
        """
        if not self.state.prompts:
            raise BadInput("nothing to undo: nothing has been asked yet")
        prompt = self.state.prompts[-1]
        back: Changes = {}
        for row in reversed([row for row in self.state.applied if row["id"] > prompt["id"]]):
            for path, (before, after) in row["changes"].items():
                now = back[path].before if path in back else self.log.contents(after)
                back[path] = Change(now, self.log.contents(before))
        pending = {path: (pair[0], pair[1]) for path, pair in prompt["files"].items()}
        self._apply(back, pending, prompt["parent"])
        return str(prompt["text"])

    def close(self) -> None:
        self.log.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _apply(
        self, chosen: Changes, pending: Changes | Mapping[str, tuple[str | None, str | None]], leaf: int | None
    ) -> None:
        files = {path: self._pair(value) if isinstance(value, Change) else list(value)
                 for path, value in pending.items()}
        if chosen or leaf is not None:
            self._append("apply", changes=self._pairs(chosen), then=files, leaf=leaf)
            try:
                changing.apply_changes(self.repo, chosen)
            except VivaceError as error:
                self._append("applied", failed=str(error))
                raise
        self._append("applied", files=files)
        if leaf is not None:
            self._move(leaf, "undone")

    def _recover(self) -> None:
        """Finish what a killed process had begun to write into the checkout: the user had agreed to it."""
        rows = self.log.rows
        begun = next((row for row in rows[-2:] if row["type"] == "apply"), None)
        if begun is None or rows[-1].get("failed") or rows[-1]["type"] not in ("apply", "applied"):
            return
        if rows[-1] is begun:
            wanted = {path: Change(self.log.contents(pair[0]), self.log.contents(pair[1]))
                      for path, pair in begun["changes"].items()}
            left = changing.finish(self.repo, wanted)
            self._append("applied", files=begun["then"], left=left)
            if wanted:
                self.notices.append("changes that were being applied when the last process ended are applied now")
            self.notices += [f"{path} is something else by now and was left alone" for path in left]
        if begun["leaf"] is not None:
            self._move(begun["leaf"], "undone")

    def _state_files(self) -> dict[str, list[str | None]]:
        return {path: list(pair) for path, pair in self.state.pending.items()}

    def _made(self, workspace: Workspace, checkout: Checkout) -> Changes:
        """The changes of a workspace, with what the checkout had when it was opened."""
        made: Changes = {}
        known = self.state.pending
        for path, after in workspace.tree_changes().items():
            same = checkout.unchanged(path)
            if same:
                made[path] = Change(changing.current(self.repo, path), after)
            elif path in known:
                before = known[path][0]
                made[path] = Change(None if before == UNKNOWN else self.log.contents(before), after, before != UNKNOWN)
            else:
                made[path] = Change(None, after, known=False)
        return made

    def _pairs(self, changes: Mapping[str, Change]) -> dict[str, list[str | None]]:
        return {path: self._pair(change) for path, change in changes.items()}

    def _pair(self, change: Change) -> list[str | None]:
        return [self.log.keep(change.before) if change.known else UNKNOWN, self.log.keep(change.after)]

    def _append(self, kind: str, **values: Any) -> None:
        self.log.append(kind, **values)
        self.state.add(self.log.rows[-1])

    def _move(self, leaf: int, why: str) -> None:
        self.log.move(leaf, why)
        self._load()

    def _load(self) -> None:
        self.state = State()
        for row in self.log.branch():
            self.state.add(row)


def _extend(segment: Segment, piece: Segment) -> None:
    segment.ids += piece.ids
    segment.mask += piece.mask
    segment.logprobs += piece.logprobs
    segment.turns += piece.turns


def _digests(row: Row) -> Sequence[str]:
    """Names of the contents that a row refers to."""
    pairs = [*(row.get("files") or {}).values(), *row.get("changes", {}).values(), *(row.get("then") or {}).values()]
    return [digest for pair in pairs for digest in pair if digest and digest != UNKNOWN]
