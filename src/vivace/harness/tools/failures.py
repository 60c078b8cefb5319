"""Reading what went wrong out of a test run's printed output: one fact sheet per failed test."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vivace.sandbox.testrun import TestReport

_PYTEST_SECTION = re.compile(r"^_{3,} (?:ERROR (?:at (?:setup|teardown) of|collecting) )?(.+?) _{3,}$", re.MULTILINE)
_UNITTEST_SECTION = re.compile(r"^(?:FAIL|ERROR): \S+ \((.+?)\).*\n-{10,}$", re.MULTILINE)
_FRAME = re.compile(
    r'^(?:  File "(?P<file>[^"\n]+)", line (?P<n>\d+)(?:, in |$)|(?P<path>[^\s:][^:\n]*):(?P<line>\d+): in )'
)
_ERROR = re.compile(r"[\w.]+(?:Error|Exception|Warning|Exit|Interrupt|Failure)\b")
_END = re.compile(r"^(?:={10,}|-{10,}\nRan )", re.MULTILINE)
_MOST_FRAMES = 10


@dataclass(frozen=True)
class Failure:
    """`message` is the error in one or a few lines, `where` the innermost `path:line` of the package (both may be "").

    `trace` holds the package's own frames, at most the last ten, and the error.
    """

    test_id: str
    message: str
    where: str
    trace: str


def failures(report: TestReport, mount: str) -> list[Failure]:
    """The failed and broken tests of a run, in the order of their outcomes.

    Args:
        mount: where the tests saw the workspace; paths below it come back relative, frames outside are dropped.
    """
    sections = _sections(report.output)
    found = []
    for test_id, outcome in report.outcomes.items():
        if outcome in ("failed", "error"):
            trace = _own_frames(_section_of(test_id, sections).replace(f"{mount}/", ""))
            found.append(Failure(test_id, _message(trace), _where(trace), trace))
    return found


def _sections(output: str) -> dict[str, str]:
    marks = [*_PYTEST_SECTION.finditer(output), *_UNITTEST_SECTION.finditer(output)]
    marks.sort(key=lambda mark: mark.start())
    sections: dict[str, str] = {}
    for mark, following in zip(marks, [*marks[1:], None]):
        body = output[mark.end() : following.start() if following else len(output)]
        end = _END.search(body)
        sections.setdefault(mark[1], (body[: end.start()] if end else body).strip("\n"))
    return sections


def _section_of(test_id: str, sections: dict[str, str]) -> str:
    """pytest heads a section with Class.test[param], unittest with the dotted id, a broken module with its path."""
    path, _, inside = test_id.partition("::")
    for key in (inside.replace("::", "."), test_id, path, f"unittest.loader._FailedTest.{test_id}"):
        if key and key in sections:
            return sections[key]
    return ""


def _own_frames(trace: str) -> str:
    """Frames of the interpreter, the test runner and installed packages tell nothing that could be fixed here."""
    blocks: list[list[str]] = [[]]
    for line in trace.split("\n"):
        if _FRAME.match(line):
            blocks.append([line])
        elif _is_error(line) and blocks[-1] and not _is_error(blocks[-1][-1]):
            blocks.append([line])  # the error itself stays, whoever raised it
        else:
            blocks[-1].append(line)
    kept = [block for block in blocks if block and not (_path_of(block[0]) or "relative").startswith(("/", "<"))]
    frames = [number for number, block in enumerate(kept) if _path_of(block[0])]
    dropped = set(frames[:-_MOST_FRAMES])
    return "\n".join(line for number, block in enumerate(kept) if number not in dropped for line in block).strip("\n")


def _is_error(line: str) -> bool:
    return line.startswith("E ") or line == "E" or _ERROR.match(line) is not None


def _path_of(line: str) -> str | None:
    frame = _FRAME.match(line)
    return frame and (frame["file"] or frame["path"])


def _message(trace: str) -> str:
    """The last run of pytest's "E" lines, or the last line that names an error."""
    lines = trace.split("\n")
    marked = [number for number, line in enumerate(lines) if line.startswith("E ")]
    if marked:
        first = marked[-1]
        while first > 0 and lines[first - 1].startswith("E"):
            first -= 1
        return "\n".join(line[1:].strip() for line in lines[first : marked[-1] + 1] if line[1:].strip())
    plain = [line for line in lines if line and not line[0].isspace() and not _FRAME.match(line)]
    return ([line for line in plain if _ERROR.match(line)] or plain or [""])[-1]


def _where(trace: str) -> str:
    frames = [frame for frame in map(_FRAME.match, trace.split("\n")) if frame]
    if not frames:
        return ""
    return f"{frames[-1]['file'] or frames[-1]['path']}:{frames[-1]['n'] or frames[-1]['line']}"
