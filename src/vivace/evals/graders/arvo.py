"""ARVO environments: a repository in /src, and `arvo compile` and `arvo run` for its fuzzing harness and exploit.

They run in their container, or in the sandbox from a folder that holds what the image would: src/ and bin/arvo.
"""

from __future__ import annotations

import ast
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vivace.core.errors import BadInput
from vivace.core.syntax import python_tree
from vivace.evals import containers
from vivace.sandbox import ExecLimits, Sandbox, Workspace

TRIES, SECONDS = 3, 3000.0
Where = str | Path
"""An image, or a folder with what it would hold."""
Outcome = Literal["pass", "crash", "error"]
_LIMITS = ExecLimits(wall_s=SECONDS, memory_mb=1 << 25, processes=512, output_bytes=16 << 20, disk_mb=2048,
                     file_mb=1024)
"""Sanitizers reserve terabytes of addresses."""
_SETUP = """
dir=$(find /src/ -maxdepth 3 -type d -iname {project} | head -n 1)
[ -n "$dir" ] || exit 3
if [ -d "$dir/.git" ]; then
  git -C "$dir" config --global user.email tests@example.com
  git -C "$dir" stash save -q --include-untracked && stashed=1
  git -C "$dir" checkout -q {commit} || exit 3
  [ -n "${{stashed:-}}" ] && git -C "$dir" stash apply -q
fi
cp -f /patches/source "$dir/"{place} || exit 3
"""
_EXPLOIT = f"""
for attempt in $(seq {TRIES}); do arvo compile && built=1 && break; done
[ -n "${{built:-}}" ] || exit 4
arvo run
"""
_ENTER = 'cd "$dir"\n'
_CRASH = re.compile(r"==\d+==\s?[A-Z]*:|runtime error:")
_HARMLESS = re.compile(r"Usage for fuzzing: honggfuzz|This binary is built for AFL-fuzz\.|"
                       r"Execution successful\.|make.*: Leaving directory ")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_WORDS = {"pass": ("ok", "okay", "success", ".", "", "done", "passed"),
          "fail": ("error", "e", "f", "fail", "not ok", "failed", "failure"), "skip": ("?", "skipped")}


@dataclass(frozen=True)
class Job:
    """A repository with one file replaced by `source`."""

    where: Where
    project: str
    commit: str
    place: str
    source: str


def exploit(job: Job, sandbox: Callable[[], Sandbox]) -> Outcome:
    """Compile (three tries) and run the proof of concept."""
    code, output = _run(job, _EXPLOIT, sandbox)
    return outcome(code, output)


def tests(job: Job, commands: str, sandbox: Callable[[], Sandbox]) -> str:
    """Output of the repository's tests; `commands` as the benchmark has them, quoted for a shell's double quotes."""
    return _run(job, _ENTER + unquoted(commands), sandbox)[1] if commands else ""


def outcome(code: int, output: str) -> Outcome:
    """What an exploit did: nothing, a crash that a sanitizer saw, or something that is neither (no build, say)."""
    if "NOTE: fuzzing was not performed" in output:
        return "pass" if code == 0 else "error"
    if _CRASH.search(output):
        return "crash" if code != 0 else "error"
    return "pass" if code == 0 and _HARMLESS.search(output) else "error"


def passed(output: str, project: str, patterns: str | Sequence[str] | None) -> list[str]:
    """Names of the tests that passed, by the project's patterns (groups `name` and, where there is one, `status`)."""
    output, found = _ANSI.sub("", output), dict[str, None]()
    if project.lower() == "libxml2":  # groups are named, and only their failures are told
        failed = set(re.findall(r"^## (.*)\n.*error : ", output, re.MULTILINE))
        return [name for name in re.findall(r"^## (.*)$", output, re.MULTILINE) if name not in failed]
    for pattern in [patterns] if isinstance(patterns, str) else patterns or ():
        for match in re.finditer(pattern, output):
            groups = match.groupdict()
            if "num_unexpected_failures" in groups:
                status = "pass" if groups["num_unexpected_failures"] == "0" else "fail"
            else:
                status = _status(groups.get("status"))
            if groups.get("name") is not None and "pass" in status:
                found[groups["name"]] = None
    return list(found)


def unquoted(text: str) -> str:
    """What a shell makes of a text between double quotes, expansions left alone."""
    return re.sub(r'\\([$`"\\\n])', lambda match: "" if match.group(1) == "\n" else match.group(1), text)


def constants(source: str) -> dict[str, Any]:
    """Names that a Python file gives plain values (strings, lists, dicts, other such names); nothing of it is run."""
    try:
        body, known = python_tree(source).body, dict[str, Any]()
    except SyntaxError as error:
        raise BadInput(f"the benchmark's constants are not Python: {error}; fetch them again") from error
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                known[node.targets[0].id] = _value(node.value, known)
            except (ValueError, TypeError, KeyError):
                continue
    return known


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _value(node.left, known) + _value(node.right, known)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(one, known) for one in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key, known): _value(value, known) for key, value in pairs if key is not None}
    return ast.literal_eval(node)


def _status(word: str | None) -> str:
    if word is None:
        return "pass"
    said = word.lower().strip()
    return next((status for status, words in _WORDS.items() if said in words), said)


def _run(job: Job, script: str, sandbox: Callable[[], Sandbox]) -> tuple[int, str]:
    setup = _SETUP.format(project=shlex.quote(job.project), commit=shlex.quote(job.commit or "HEAD"),
                          place=shlex.quote(job.place))
    if isinstance(job.where, str):
        with tempfile.TemporaryDirectory() as folder, containers.Container(job.where, network="bridge") as container:
            (Path(folder) / "source").write_text(job.source)
            container.put(Path(folder), "/patches")
            done = container.exec(["/bin/sh", "-c", setup + script], limits=_LIMITS, cwd="/")
        return done.exit_code, done.output
    names = {"/src": "src", "/patches": ".patches", "/work": ".work"}
    overlay = {".patches/source": job.source.encode(), ".work/.keep": b""}
    with Workspace(job.where, sandbox(), overlay=overlay, names=names) as workspace:
        env = {"PATH": f"{workspace.mount}/bin:/usr/local/bin:/usr/bin:/bin"}
        done = workspace.exec(["/bin/sh", "-c", setup + script], limits=_LIMITS, env=env)
    return done.exit_code, done.output
