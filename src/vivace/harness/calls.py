"""Running the calls of one answer: looks at the files side by side, everything else one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from vivace.core.types import ToolCall, ToolOutcome
from vivace.harness.hooks import Event, Hooks
from vivace.harness.tools.base import Context, Result
from vivace.harness.tools.registry import Profile

MOST_AT_ONCE = 5

Outcome = tuple[Result, ToolOutcome]


def run_calls(
    calls: Sequence[ToolCall], profile: Profile, context: Context, turn: int, hooks: Hooks
) -> Iterator[tuple[ToolCall, Result, ToolOutcome]]:
    """(call, result, outcome) in the order of the calls.

    Neighbouring calls of read-only tools run in parallel, because they cannot notice each other. Everything after a
    call is run only when the next triple is asked for, so that the caller can stop between them.
    """
    run = _runner(profile, context, turn, hooks)
    at = 0
    while at < len(calls):
        end = at
        while end < len(calls) and profile.parallel(calls[end].name):
            end += 1
        if end - at < 2:
            end = at + 1
            done: Sequence[Outcome] = [run(calls[at])]
        else:
            with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
                done = list(pool.map(run, calls[at:end]))
        for call, (result, outcome) in zip(calls[at:end], done, strict=True):
            yield call, result, outcome
        at = end


def _runner(profile: Profile, context: Context, turn: int, hooks: Hooks) -> Callable[[ToolCall], Outcome]:
    def run(call: ToolCall) -> Outcome:
        hooks.event(Event(type="tool_call", turn=turn, call=call))
        refused = "not run, the user stopped" if hooks.stopped() else hooks.refusal(call, context.env.workspace)
        if refused is None:
            result, outcome = profile.call(call, context, turn)
        else:
            name = call.name if call.name in profile.names else "unknown"
            result, outcome = Result(f"ERROR: {refused}", "refused"), ToolOutcome(tool=name, kind="refused", turn=turn)
        hooks.event(Event(type="tool_result", turn=turn, call=call, text=result.text, kind=result.kind,
                          seconds=outcome.seconds))
        return result, outcome

    return run
