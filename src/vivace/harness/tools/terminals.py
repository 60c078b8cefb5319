"""What the tools share that run commands: one to its end, some in the background, and what the model reads of them."""

from __future__ import annotations

from vivace.core.errors import BadInput
from vivace.harness.tools.base import ROOT, Context, Result, ToolError
from vivace.harness.tools.whole import fitted
from vivace.sandbox import ExecLimits, ExecResult
from vivace.sandbox.background import Background

DEFAULT_SECONDS, MOST_SECONDS = 60.0, 600.0
BACKGROUND_SECONDS = 3600.0
"""A command in the background is ended then, if not by the end of its session."""
MOST_CHARACTERS, TERSE_CHARACTERS = 60_000, 1_200
MOST_RUNNING = 8
_SNAPSHOT_S, _QUIET_S = 10.0, 1.0
_OUTPUT_BYTES = 1 << 20


def run_command(ctx: Context, command: str, seconds: float) -> Result:
    """Run a shell command to its end, which is after `seconds` at the latest."""
    limits = ExecLimits(wall_s=seconds, output_bytes=_OUTPUT_BYTES)
    return ended(ctx, ctx.env.workspace.exec(_shell(command), limits=limits), seconds)


def run_or_leave(ctx: Context, command: str, seconds: float) -> Result:
    """As `run_command`, but what takes longer goes on in the background."""
    workspace = ctx.env.workspace
    name, started = _start(ctx, command)
    result = started.wait(seconds, workspace.interrupt)
    if result is not None:
        workspace.finished(name)
        return ended(ctx, result, seconds)
    note = f"(Still running after {seconds:g} s: it goes on in the background, its id is {name}.)"
    return Result(f"{_shown(ctx, started.output())}\n{note}".lstrip("\n"), "background")


def run_in_background(ctx: Context, command: str) -> Result:
    """Start a command, and show what it has written when it first falls silent."""
    name, started = _start(ctx, command)
    started.wait_quiet(_SNAPSHOT_S, _QUIET_S)
    return state(ctx, name)


def state(ctx: Context, name: str) -> Result:
    """All output so far of a command in the background, and whether it still runs."""
    one = find(ctx, name)
    if not one.running:
        one.told = True
        result = ended(ctx, one.wait(1.0) or one.stop(), BACKGROUND_SECONDS)
        return Result(f"{result.text}\n(id {name} has ended)", result.kind)
    text = f"{_shown(ctx, one.output())}\n(id {name} has been running for {one.seconds:.0f} s)"
    return Result(text.lstrip("\n"), "background")


def typed(ctx: Context, name: str, text: str) -> Result:
    """Type a line into a command; the last lines of its output then."""
    one = find(ctx, name)
    try:
        one.type(text + "\n")
    except BadInput as error:
        raise ToolError("invalid_input", str(error)) from None
    one.wait_quiet(_SNAPSHOT_S, _QUIET_S)
    last = _shown(ctx, one.output()).split("\n")[-5:]
    return Result("\n".join(last) or "(no output)")


def stop(ctx: Context, name: str) -> Result:
    """End a command in the background and take it off the list; its last output."""
    one = find(ctx, name)
    running = one.running
    result = one.stop()
    del ctx.env.workspace.background[name]
    what = f"stopped id {name}" if running else f"id {name} had ended with exit code {result.exit_code}"
    return Result(f"{_shown(ctx, result.output)}\n({what})".lstrip("\n"))


def find(ctx: Context, name: str) -> Background:
    """A command in the background. ToolError: there is none of that id."""
    known = ctx.env.workspace.background
    if name.strip() not in known:
        raise ToolError("not_found", f"no command with id {name[:20]!r}; {', '.join(known) or 'none'} can be named")
    return known[name.strip()]


def news(ctx: Context) -> str:
    """A line for each command in the background that has ended since it was last spoken of."""
    lines = []
    for name, one in list(ctx.env.workspace.background.items()):
        if not one.running and not one.told:
            one.told = True
            code = (one.wait(1) or one.stop()).exit_code
            lines.append(f"\n(The command with id {name} has ended with exit code {code}.)")
    return "".join(lines)


def ended(ctx: Context, result: ExecResult, seconds: float) -> Result:
    """What the model reads of a command that has ended."""
    output = _shown(ctx, result.output)
    if result.timed_out:
        return Result(f"{output}\nERROR: stopped after {seconds:g} s".lstrip("\n"), "timeout")
    if result.killed == "cancelled":
        return Result(f"{output}\nERROR: stopped by the user".lstrip("\n"), "nonzero_exit")
    if result.killed:
        return Result(f"{output}\nERROR: stopped, too much of: {result.killed}".lstrip("\n"), "nonzero_exit")
    if result.exit_code:
        return Result(f"{output}\nexit code {result.exit_code}".lstrip("\n"), "nonzero_exit")
    return Result(output or ("" if ctx.terse else "(no output)"))


def _start(ctx: Context, command: str) -> tuple[str, Background]:
    workspace = ctx.env.workspace
    running = [name for name, one in workspace.background.items() if one.running]
    if len(running) >= MOST_RUNNING:
        raise ToolError("refused", f"{MOST_RUNNING} commands run in the background already; stop one first")
    name = workspace.start(_shell(command), limits=ExecLimits(wall_s=BACKGROUND_SECONDS, output_bytes=_OUTPUT_BYTES))
    return name, workspace.background[name]


def _shell(command: str) -> list[str]:
    if not command.strip():
        raise ToolError("invalid_input", "command is empty")
    return ["/bin/sh", "-c", command]


def _shown(ctx: Context, output: str) -> str:
    text = output.replace(ctx.env.mount_point, ROOT).rstrip("\n")  # backends mount in different places
    return fitted(ctx, text, TERSE_CHARACTERS if ctx.terse else MOST_CHARACTERS)
