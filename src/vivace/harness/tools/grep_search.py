"""grep_search: lines by text or regular expression.

Plain text is searched here. A regular expression comes from the model and may take for ever, so it runs in the
sandbox under a time limit.
"""

from __future__ import annotations

import json
import re
import sys
from html import escape
from pathlib import Path

from pydantic import Field

from vivace.core.errors import BadInput, SandboxError
from vivace.harness.tools.base import Args, Context, Result, Tool, ToolError
from vivace.harness.tools.text import glob_pattern, shorten
from vivace.sandbox import ExecLimits

DEFAULT_RESULTS, TERSE_RESULTS, MOST_RESULTS = 20, 8, 200
SECONDS = 20.0
AROUND = 500
_LONGEST_FILE = 1 << 20
_META = re.compile(r"[\\^$.|?*+()\[\]{}]")
# Editors leave these out of a search unless told otherwise.
_IGNORED = re.compile(r"(?:.*/)?(?:\.git|\.venv|node_modules|\.tox|.*\.egg-info|.*\.min\.js|.*\.lock)(?:/.*)?")
_WORKER = """
import json, re, sys
request = json.load(sys.stdin)
pattern = re.compile(request["query"], re.IGNORECASE)
for path in request["files"]:
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        for number, line in enumerate(file.read().split("\\n"), 1):
            found = pattern.search(line)
            if found:
                print(json.dumps([path, number, line, found.start()]))
"""

Hit = tuple[str, int, str, int]
"""Path, 1-based line, the line, offset of the hit in it."""


class GrepSearchArgs(Args):
    query: str = Field(description="The text or regular expression to look for; letter case does not matter.")
    isRegexp: bool = Field(False, description="Whether the query is a regular expression.")
    includePattern: str | None = Field(None, description="Glob of the files to search in.")
    maxResults: int | None = Field(None, description="Most results to return; leave out unless needed.")
    includeIgnoredFiles: bool = Field(False, description="Search generated and ignored files as well.")


def hits_of(args: GrepSearchArgs, ctx: Context) -> list[Hit]:
    """All hits, in the order of the files. ToolError: an empty or bad query, or one that takes too long."""
    if not args.query.strip():
        raise ToolError("invalid_input", "query is empty")
    files = _files(args, ctx)
    hits = _search(args.query, args.isRegexp, files, ctx)
    if not hits and _META.search(args.query):  # the other reading of the query, once
        try:
            hits = _search(args.query, not args.isRegexp, files, ctx)
        except ToolError as error:
            if error.kind != "bad_regex":
                raise
    return hits


def run(args: GrepSearchArgs, ctx: Context) -> Result:
    hits = hits_of(args, ctx)
    most = TERSE_RESULTS if ctx.terse else min(max(1, args.maxResults or DEFAULT_RESULTS), MOST_RESULTS)
    if not hits:
        hint = "" if ctx.terse else ". Generated and ignored files were left out; includeIgnoredFiles includes them."
        return Result(f"no matches{hint}", "no_results")
    return Result(_terse(hits, most) if ctx.terse else _full(hits, most, ctx))


def _files(args: GrepSearchArgs, ctx: Context) -> list[str]:
    files = ctx.env.workspace.files()
    if not args.includeIgnoredFiles:
        files = [file for file in files if not _IGNORED.fullmatch(file)]
    if args.includePattern:
        inside = args.includePattern
        for root in (ctx.env.mount_point, "/workspace"):
            inside = inside.removeprefix(root)
        pattern = glob_pattern(inside)
        files = [file for file in files if pattern.fullmatch(file)]
    return files


def _search(query: str, is_regexp: bool, files: list[str], ctx: Context) -> list[Hit]:
    if is_regexp and _META.search(query):
        return _regexp(query, files, ctx)
    return _plain(query, files, ctx)


def _plain(query: str, files: list[str], ctx: Context) -> list[Hit]:
    wanted = query.lower()
    hits: list[Hit] = []
    for path in files:
        try:
            text = ctx.env.workspace.read_text(path)
        except BadInput:  # binary, or gone meanwhile
            continue
        if len(text) > _LONGEST_FILE or wanted not in (lowered := text.lower()):
            continue
        for number, (line, low) in enumerate(zip(text.split("\n"), lowered.split("\n")), 1):
            at = low.find(wanted)
            if at >= 0:
                hits.append((path, number, line.removesuffix("\r"), at))
    return hits


def _regexp(query: str, files: list[str], ctx: Context) -> list[Hit]:
    try:
        re.compile(query)
    except (re.error, OverflowError, RecursionError) as error:
        raise ToolError("bad_regex", f"not a regular expression: {error}") from None
    python = str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
    limits = ExecLimits(wall_s=SECONDS, output_bytes=4 << 20)
    request = json.dumps({"query": query, "files": files})
    result = ctx.env.workspace.exec([python, "-I", "-c", _WORKER], limits=limits, stdin=request)
    if result.timed_out:
        advice = "use a simpler expression or includePattern"
        raise ToolError("timeout", f"the search took more than {SECONDS:.0f} s: {advice}")
    if result.exit_code:
        raise SandboxError(f"the search process failed: {shorten(result.output, 200)}")
    hits: list[Hit] = []
    for row in result.output.splitlines():
        if row.startswith("["):
            path, number, line, at = json.loads(row)
            hits.append((path, number, line.removesuffix("\r"), at))
    return hits


def _terse(hits: list[Hit], most: int) -> str:
    lines = [f"{path}:{number}: {shorten(line, 120)}" for path, number, line, _ in hits[:most]]
    if len(hits) > most:
        lines.append(f"+{len(hits) - most} more")
    return "\n".join(lines)


def _full(hits: list[Hit], most: int, ctx: Context) -> str:
    count = f"{len(hits)} match{'es' if len(hits) > 1 else ''}"
    if len(hits) > most:
        count += f" (the first {most} are shown)"
    blocks = [
        f'<match path="{escape(ctx.show(path))}" line={number}>\n{line[max(0, at - AROUND) : at + AROUND]}\n</match>'
        for path, number, line, at in hits[:most]
    ]
    return "\n".join([count, *blocks])


TOOL = Tool(
    name="grep_search",
    description="Fast search for text or a regular expression in the files of the workspace. Use alternation such as "
    "word1|word2 to look for several words at once.",
    args=GrepSearchArgs,
    run=run,
    required=("query", "isRegexp"),
    read_only=True,
    aliases={"pattern": "query"},
)
