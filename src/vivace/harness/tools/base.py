"""What every tool is made of: parameters, a run function, and an outcome kind from one closed list."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from vivace.core.errors import BadInput
from vivace.core.files import digest
from vivace.harness.environment import Environment
from vivace.harness.policy.protected import never

ROOT = "/workspace"
"""Where the model is told the repository lies, whatever the isolation backend."""

OkKind = Literal[
    "ok", "no_results", "tests_failed", "no_tests", "nonzero_exit", "diagnostics", "background",
    # Edits that fitted only after forgiving something; `ok` is the exact match that training rewards.
    "ok_line_endings", "ok_trailing_blanks", "ok_look_alikes", "ok_indentation",
]  # fmt: skip
ErrorKind = Literal[
    "unknown_tool", "invalid_input", "cut", "outside", "protected", "not_found", "not_text", "exists", "timeout",
    "budget", "bad_regex", "no_match", "ambiguous", "no_change", "already_applied", "omission", "overlap",
    "partial", "broken_syntax", "would_not_parse", "refused", "unavailable", "stale",
]  # fmt: skip
Kind = OkKind | ErrorKind
ERROR_KINDS: frozenset[str] = frozenset(get_args(ErrorKind))
KINDS: tuple[str, ...] = (*get_args(OkKind), *get_args(ErrorKind))


class ToolError(Exception):
    """A call that could not be carried out: becomes an `ERROR: ...` result, and the attempt goes on."""

    def __init__(self, kind: ErrorKind, text: str) -> None:
        super().__init__(text)
        self.kind: ErrorKind = kind
        self.text = text


class Args(BaseModel):
    """Base of all parameter models: names are those of VS Code agent mode, hence the camel case."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True)
class Result:
    """What the model reads (`text`) and what is counted (`kind`). `done` ends the attempt. Of a test run: how many
    `passed`, and whether a limit `stopped` it."""

    text: str
    kind: Kind = "ok"
    done: bool = False
    passed: int | None = None
    stopped: bool = False


@dataclass
class Context:
    """What a tool may use. `terse` asks for the short form of a result (small context windows)."""

    env: Environment
    terse: bool = False
    max_test_runs: int = 16
    test_runs: int = 0
    tested: dict[tuple[str, str], Result] = field(default_factory=dict)
    """Results of test runs of this attempt, by `test_key`; none of those that the clock stopped."""
    shown: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Lines, by path, of what the request has attached (where they were at first)."""
    explore: Callable[[str], str] | None = None
    """Has a question about the files answered by an attempt that can only look."""
    todos: list[Any] = field(default_factory=list)
    """The plan as `manage_todo_list` has it."""
    seen: dict[str, str] = field(default_factory=dict)
    """Digest of each file, by path, as the model last read or wrote it."""

    def saw(self, path: str, text: str) -> None:
        """The model knows this text of a file."""
        self.seen[path] = digest(text)

    def stale(self, path: str, text: str) -> bool:
        """Whether a file that the model has read is no longer what it read."""
        return path in self.seen and self.seen[path] != digest(text)

    def test_key(self, ids: list[str] | None) -> tuple[str, str]:
        """Names a run of these tests on the files as they are now."""
        return self.env.workspace.state_digest(), str(ids)

    def show(self, path: str) -> str:
        """A workspace path as the model sees it: relative when terse, below ROOT otherwise."""
        return path if self.terse else posixpath.join(ROOT, path)

    def resolve(self, path: str) -> str:
        """A path the model wrote, as a path relative to the workspace; "" is the workspace itself."""
        path = path.strip()
        if posixpath.isabs(path):
            for root in (ROOT, self.env.mount_point):
                if path == root or path.startswith(root + "/"):
                    path = posixpath.relpath(path, root)
                    break
            else:
                raise ToolError("outside", f"{path} is outside the workspace{'' if self.terse else ' ' + ROOT}")
        path = posixpath.normpath(path) if path else "."
        if path.startswith("../") or path == "..":
            raise ToolError("outside", f"{path} is outside the workspace")
        return "" if path == "." else path

    def read(self, path: str) -> str:
        """Text of a file, line ends and byte order mark as they are."""
        workspace = self.env.workspace
        try:
            if path:
                return workspace.read_text(path)
        except BadInput as error:
            if not workspace.exists(path):
                raise ToolError("not_found", f"no file {self.show(path)}{self._suggest(path)}") from None
            if not any(file.startswith(path + "/") for file in workspace.files()):
                raise ToolError("not_text", str(error)) from None
        raise ToolError("not_found", f"{self.show(path)} is a folder")

    def write(self, path: str, text: str) -> None:
        """Write a file, making its folders. Version control data is never written, nor what the policy says."""
        if why := never(path):
            raise ToolError("protected", f"{self.show(path)} {why} and is not for editing")
        try:
            self.env.workspace.write_text(path, text)
        except BadInput as error:
            raise ToolError("invalid_input", str(error)) from None

    def _suggest(self, path: str) -> str:
        files = self.env.workspace.files()
        same_name = [file for file in files if posixpath.basename(file) == posixpath.basename(path)]
        close = same_name or get_close_matches(path, files, n=1, cutoff=0.6)
        return f"; did you mean {self.show(close[0])}?" if close else ""


@dataclass(frozen=True)
class Tool:
    """One tool. `required` is what the published schema requires (the validator may be more lenient)."""

    name: str
    description: str
    args: type[Args]
    run: Callable[[Any, Context], Result]
    required: tuple[str, ...] = ()
    read_only: bool = False
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names of a parameter that are accepted: {alias: name}."""
    schema: dict[str, Any] | None = None
    """JSON schema of the parameters where `args` does not say them; they are then handed over as they come."""
