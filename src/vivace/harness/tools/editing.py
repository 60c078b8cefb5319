"""What the edit tools share: find the place, change the file, say what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from vivace.harness.edit.diagnostics import SyntaxProblem, short_diff, syntax_problem
from vivace.harness.edit.explain import explain
from vivace.harness.edit.match import Match, Refusal, Step, find, line_of
from vivace.harness.tools.base import Context, Kind, ToolError

_KINDS: dict[Step, Kind] = {
    "exact": "ok",
    "line_endings": "ok_line_endings",
    "trailing_blanks": "ok_trailing_blanks",
    "look_alikes": "ok_look_alikes",
    "indentation": "ok_indentation",
}


@dataclass(frozen=True)
class FileEdit:
    """One file after its edits."""

    path: str
    before: str
    after: str
    line: int
    """1-based line of the first difference."""
    kind: Kind
    problem: SyntaxProblem | None


def locate(ctx: Context, path: str, text: str, old: str, new: str) -> Match:
    """The single place of an edit.

    Raises:
        ToolError: there is none; the text says what stands in the file instead.
    """
    found = find(text, old, new, ctx.shown.get(path, ()))
    if isinstance(found, Refusal):
        raise ToolError(found.reason, explain(found, ctx.show(path), text, old, new, ctx.terse))
    if not ctx.terse and found.step != "exact" and ctx.stale(path, text):
        raise ToolError("stale", f"{ctx.show(path)} has changed since you read it, and oldString fits only after "
                                 "forgiving something. Read it again.")
    return found


def replace(ctx: Context, path: str, text: str, matches: list[Match]) -> FileEdit:
    """Write `text` with non-overlapping matches replaced.

    A file that no longer parses stays as edited, and the model is told. Not in the terse form: a small model does not
    find its way back from there, so the edit is refused.

    Raises:
        ToolError: the edit was refused.
    """
    after = text
    for match in sorted(matches, key=lambda m: m.start, reverse=True):
        after = after[: match.start] + match.new + after[match.end :]
    problem = syntax_problem(path, after)
    if ctx.terse and problem and not syntax_problem(path, text):
        raise ToolError("would_not_parse", f"not made: line {problem.line} would not parse: {problem.message}")
    ctx.write(path, after)
    ctx.saw(path, after)
    kind: Kind = next((_KINDS[m.step] for m in matches if m.step != "exact"), "ok")
    return FileEdit(path, text, after, _first_difference(text, after), "broken_syntax" if problem else kind, problem)


def _first_difference(before: str, after: str) -> int:
    same = next((i for i, (a, b) in enumerate(zip(before, after)) if a != b), min(len(before), len(after)))
    return line_of(after, same)


def render(ctx: Context, edits: list[FileEdit]) -> str:
    """What the model reads after edits that were carried out."""
    if ctx.terse:
        return "\n".join(f"edited {e.path} line {e.line}{_syntax(e, '; ')}" for e in edits)
    parts = ["The following files were successfully edited:", *(ctx.show(e.path) for e in edits)]
    for edit in edits:
        parts.append(short_diff(edit.before, edit.after))
        if edit.kind.startswith("ok_"):
            forgiven = edit.kind.removeprefix("ok_").replace("_", " ")
            parts.append(f"(oldString fitted only after forgiving {forgiven}; copy text exactly.)")
        if edit.problem:
            parts.append(f"{ctx.show(edit.path)}{_syntax(edit, ': ')}")
    return "\n".join(parts)


def _syntax(edit: FileEdit, separator: str) -> str:
    if edit.problem is None:
        return ""
    was = "still does not parse" if syntax_problem(edit.path, edit.before) else "no longer parses"
    return f"{separator}it {was}: line {edit.problem.line}: {edit.problem.message}"
