"""The loop: token-exact records, stop reasons, budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from calc_repo import FIX, TASK, call, script

from vivace.core.errors import BadInput, ContextOverflow, ModelError
from vivace.core.types import Completion, Message, Sampling, ToolCall
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.environment import Environment
from vivace.harness.loop import Limits, run
from vivace.text.chat import Renderer


def test_a_scripted_fix_is_recorded_whole(env: Environment, renderer: Renderer) -> None:
    trajectory = run(TASK, env, ScriptedClient(renderer, script(*FIX)), Limits(), profile="nano")
    assert trajectory.stop_reason == "complete"
    assert (trajectory.turns, trajectory.test_runs) == (len(FIX), 2)
    assert [o.kind for o in trajectory.outcomes] == ["tests_failed", "ok", "ok", "ok", "ok", "ok"]
    assert "-    return a - b\n+    return a + b" in trajectory.patch
    texts = [m.content for m in trajectory.messages if m.role == "tool"]
    assert texts[0].startswith("1 passed, 2 failed\ntests/test_ops.py::test_add\n")
    assert texts[1] == "calc/ops.py:4: def add(a, b):"
    assert texts[2] == 'def add(a, b):\n    """Sum of two numbers."""\n    return a - b\n'
    assert texts[3] == "edited calc/ops.py line 6"
    assert texts[4] == "3 passed, 0 failed"
    assert set(trajectory.hashes) == {"tools", "prompt"}


def test_the_segment_is_what_the_renderer_makes_of_the_messages(env: Environment, renderer: Renderer) -> None:
    """Parity core: re-rendering the messages afterwards gives the recorded ids and mask exactly."""
    trajectory = run(TASK, env, ScriptedClient(renderer, script(*FIX)), Limits(), profile="nano")
    (segment,) = trajectory.segments
    assert (segment.ids, segment.mask) == renderer.render(trajectory.messages)
    assert len(segment.ids) == len(segment.logprobs) == len(segment.turns)
    assert all((turn >= 0) == bool(mask) for turn, mask in zip(segment.turns, segment.mask))
    assert sorted(set(segment.turns)) == [-1, *range(len(FIX))]
    assert trajectory.usage.output_tokens == sum(segment.mask)


def test_every_prompt_is_a_prefix_of_the_segment(env: Environment, renderer: Renderer) -> None:
    prompts: list[list[int]] = []

    class Watching(ScriptedClient):
        def complete(self, messages: Sequence[Message], *, prompt_ids: Sequence[int] = (), **rest: Any) -> Completion:
            prompts.append(list(prompt_ids))
            ids, _ = renderer.render(messages)
            assert list(prompt_ids) == ids + renderer.generation_prompt()
            return super().complete(messages, prompt_ids=prompt_ids, **rest)

    trajectory = run(TASK, env, Watching(renderer, script(*FIX)), Limits(), profile="nano")
    assert len(prompts) == len(FIX)
    assert all(trajectory.segments[0].ids[: len(prompt)] == prompt for prompt in prompts)


def test_ids_are_never_made_anew_from_text(env: Environment, renderer: Renderer) -> None:
    """A sampled spelling that the tokenizer itself would not choose stays as it was sampled."""
    odd = [i for c in "task_complete" for i in renderer.tokenizer.encode(c)]
    ids = [renderer.tokenizer.special["<|call|>"], *odd, renderer.end]
    assert odd != renderer.tokenizer.encode("task_complete")

    class Odd(ScriptedClient):
        def complete(self, messages: Sequence[Message], **rest: Any) -> Completion:
            return Completion(message=renderer.parse(ids), ids=ids, logprobs=[-0.5] * len(ids))

    trajectory = run(TASK, env, Odd(renderer, script()), Limits(), profile="nano")
    segment = trajectory.segments[0]
    assert trajectory.stop_reason == "complete"
    assert [i for i, m in zip(segment.ids, segment.mask) if m] == ids
    assert [p for p, m in zip(segment.logprobs, segment.mask) if m] == [-0.5] * len(ids)


def test_an_answer_cut_by_length_is_closed_and_answered(env: Environment, renderer: Renderer) -> None:
    long = call("replace_string_in_file", filePath="calc/ops.py", oldString="x " * 80, newString="y")
    limits = Limits(max_turn_tokens=40)
    trajectory = run(TASK, env, ScriptedClient(renderer, script(long, call("task_complete"))), limits, profile="nano")
    segment = trajectory.segments[0]
    first = [n for n, turn in enumerate(segment.turns) if turn == 0]
    assert len(first) == 40
    after = first[-1] + 1
    assert (segment.ids[after], segment.mask[after]) == (renderer.end, 0)
    assert trajectory.outcomes[0].kind == "cut"
    assert trajectory.messages[3].content.startswith("ERROR: the answer was cut after 40 tokens")
    assert (trajectory.stop_reason, trajectory.patch) == ("complete", "")


def test_plain_text_is_an_answer(env: Environment, renderer: Renderer) -> None:
    client = ScriptedClient(renderer, script(Message(role="assistant", content="It is in calc/ops.py.")))
    trajectory = run(TASK, env, client, Limits())
    assert (trajectory.stop_reason, trajectory.turns) == ("complete", 1)


def test_one_result_per_call_in_order(env: Environment, renderer: Renderer) -> None:
    calls = [ToolCall(name="grep_search", arguments={"query": q}) for q in ("def mean", "def add")]
    answers = script(Message(role="assistant", tool_calls=calls), call("task_complete"))
    trajectory = run(TASK, env, ScriptedClient(renderer, answers), Limits(), profile="nano")
    results = [m for m in trajectory.messages if m.role == "tool"]
    assert [m.content for m in results[:2]] == ["calc/ops.py:9: def mean(values):", "calc/ops.py:4: def add(a, b):"]
    assert [m.tool_call_id for m in results] == ["call_0", "call_1", "call_0"]
    assert [o.turn for o in trajectory.outcomes] == [0, 0, 1]


def always(*answers: Message) -> Any:
    return lambda messages: answers[sum(m.role == "assistant" for m in messages) % len(answers)]


SEARCHES = tuple(call("grep_search", query=f"word{n}") for n in range(50))


@pytest.mark.parametrize(
    ("policy", "limits", "reason", "turns"),
    [
        (always(*SEARCHES), Limits(max_turns=5), "turns", 5),
        (always(*SEARCHES), Limits(max_output_tokens=30), "tokens", None),
        (always(*SEARCHES), Limits(max_context=250), "context", None),
        (always(*SEARCHES), Limits(max_seconds=1e-9), "seconds", 0),
        (always(call("no_such_tool")), Limits(), "format", 3),
        (always(call("read_file", startLine="1")), Limits(), "format", 3),
        (always(call("read_file", filePath="absent.py")), Limits(), "stuck", 4),
        (always(call("read_file", filePath="a.py"), call("read_file", filePath="b.py")), Limits(), "stuck", 12),
    ],
)
def test_stop_reasons(
    env: Environment, renderer: Renderer, policy: Any, limits: Limits, reason: str, turns: int | None
) -> None:
    trajectory = run(TASK, env, ScriptedClient(renderer, policy), limits, profile="nano")
    assert trajectory.stop_reason == reason
    assert turns is None or trajectory.turns == turns
    assert trajectory.usage.output_tokens <= limits.max_output_tokens
    segment = trajectory.segments[0]
    sampled = [n for n, m in enumerate(segment.mask) if m]
    assert not sampled or sampled[-1] < limits.max_context


def test_test_runs_are_budgeted(env: Environment, renderer: Renderer) -> None:
    edit = call("replace_string_in_file", filePath="new.py", oldString="", newString="x = 1\n")
    answers = script(call("runTests"), edit, call("runTests"), call("task_complete"))
    trajectory = run(TASK, env, ScriptedClient(renderer, answers), Limits(max_test_runs=1), profile="nano")
    assert trajectory.test_runs == 1
    assert [o.kind for o in trajectory.outcomes] == ["tests_failed", "ok", "budget", "ok"]
    assert trajectory.messages[7].content == "ERROR: the budget of 1 test runs is used up"


@pytest.mark.parametrize("profile", ["nano", "copilot"])
def test_tests_of_unchanged_files_cost_nothing(env: Environment, renderer: Renderer, profile: str) -> None:
    answers = script(call("runTests"), call("runTests"), call("task_complete"))
    trajectory = run(TASK, env, ScriptedClient(renderer, answers), Limits(max_test_runs=1), profile=profile)
    assert trajectory.test_runs == 1
    assert [o.kind for o in trajectory.outcomes] == ["tests_failed", "tests_failed", "ok"]
    first, again = (m.content for m in trajectory.messages if m.role == "tool" and m.name == "runTests")
    assert again.startswith(first)
    assert (again == first) == (profile == "nano")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([call("runTests")], "failed"),
        ([*FIX[:-1]], "passed"),
        ([*FIX[:-1], call("replace_string_in_file", filePath="calc/ops.py", oldString="a + b", newString="b + a")], ""),
        ([], ""),
    ],
)
def test_what_the_tests_said_of_the_files_at_the_end(
    env: Environment, renderer: Renderer, answers: list[Message], expected: str
) -> None:
    client = ScriptedClient(renderer, script(*answers, call("task_complete")))
    assert run(TASK, env, client, Limits(), profile="nano").tests_at_end == expected


class Broken(ScriptedClient):
    def __init__(self, error: Exception) -> None:
        super().__init__(None, script())
        self.error = error

    def complete(self, messages: Sequence[Message], **rest: Any) -> Completion:
        raise self.error


def test_a_broken_endpoint_is_infra_and_not_an_exception(env: Environment) -> None:
    trajectory = run(TASK, env, Broken(ModelError("no answer from http://x")), Limits())
    assert (trajectory.stop_reason, trajectory.error) == ("infra", "no answer from http://x")
    assert trajectory.segments == []


def test_an_overflow_reported_by_the_endpoint_is_context(env: Environment) -> None:
    assert run(TASK, env, Broken(ContextOverflow("too long")), Limits()).stop_reason == "context"


def test_a_client_with_a_codec_must_return_ids(env: Environment, renderer: Renderer) -> None:
    class NoIds(ScriptedClient):
        def complete(self, messages: Sequence[Message], **rest: Any) -> Completion:
            return Completion(message=call("task_complete"))

    assert run(TASK, env, NoIds(renderer, script()), Limits()).stop_reason == "infra"


def test_seeds_differ_by_turn_and_attempt(env: Environment) -> None:
    seeds: list[int] = []

    class Watching(ScriptedClient):
        def complete(self, messages: Sequence[Message], *, sampling: Sampling, **rest: Any) -> Completion:
            seeds.append(sampling.seed)
            return super().complete(messages, sampling=sampling, **rest)

    for seed in (0, 1):
        run(TASK, env, Watching(None, script(*SEARCHES[:2], call("task_complete"))), Limits(), seed=seed)
    assert len(set(seeds)) == 6


def test_unknown_profile_names_the_known_ones(env: Environment) -> None:
    with pytest.raises(BadInput, match=r"copilot, .*nano"):
        run(TASK, env, ScriptedClient(None, script()), Limits(), profile="pilot")


def test_answers_without_effect_are_taken_back_and_paid_for(env: Environment, renderer: Renderer) -> None:
    void = call("replace_string_in_file", filePath="ops.py", oldString="nowhere", newString="x")
    answers = iter([void, call("runTests"), void, void, call("task_complete")])
    client = ScriptedClient(renderer, lambda messages: next(answers))
    trajectory = run(TASK, env, client, Limits(take_backs=2), profile="nano")
    said = [m.tool_calls[0].name for m in trajectory.messages if m.role == "assistant"]
    assert said == ["runTests", "replace_string_in_file", "task_complete"]  # the third void answer stays
    assert [(o.kind, o.turn) for o in trajectory.outcomes] == [("tests_failed", 0), ("not_found", 1), ("ok", 2)]
    assert (trajectory.turns, trajectory.taken_back) == (5, 2)
    segment = trajectory.segments[0]
    assert segment.ids == renderer.render(trajectory.messages)[0]
    assert sorted(set(segment.turns)) == [-1, 0, 1, 2]
    gone = [one.within(segment) for one in trajectory.forgotten]
    before = [renderer.render(trajectory.messages[:n])[0] for n in (2, 4)]  # the request; and after the test run
    assert [one.ids for one in gone] == [
        [*start, *renderer.message(void)[0]] for start in before]  # the very tokens, where they stood
    assert sum(segment.mask) + sum(sum(one.mask) for one in trajectory.forgotten) == trajectory.usage.output_tokens


def edit(old: str, new: str, *more: str) -> Message:
    calls = [call("replace_string_in_file", filePath="calc/ops.py", oldString=old, newString=new), *map(call, more)]
    return Message(role="assistant", tool_calls=[c for message in calls for c in message.tool_calls])


def test_edits_that_did_not_help_are_taken_back_with_their_files(env: Environment, renderer: Renderer) -> None:
    wrong = edit("return a - b", "return a * b", "runTests")
    untested, vain = edit("total = 0", "total = 1"), edit("return a - b", "return b - a", "runTests")
    right, done = edit("return a - b", "return a + b", "runTests"), call("task_complete")
    said = iter([wrong, untested, vain, right, done])
    trajectory = run(TASK, env, ScriptedClient(renderer, lambda messages: next(said)), Limits(take_backs=9),
                     profile="nano")  # fmt: skip
    kept = [renderer.message(message) for message in trajectory.messages if message.role == "assistant"]
    assert kept == [renderer.message(right), renderer.message(done)]
    assert (trajectory.turns, trajectory.taken_back, trajectory.test_runs) == (5, 3, 3)
    assert trajectory.tests_at_end == "passed"
    assert [line for line in trajectory.patch.split("\n") if line and line[0] in "+-"][2:] == ["-    return a - b",
                                                                                    "+    return a + b"]  # fmt: skip
    (first, second) = trajectory.forgotten
    assert (first.why, second.why) == ("in_vain", "in_vain")
    start = renderer.render(trajectory.messages[:2])[0]
    assert first.within(trajectory.segments[0]).ids == [*start, *renderer.message(wrong)[0]]
    both = second.within(trajectory.segments[0])  # the untested edit goes with the one that showed it did not help
    assert both.ids[: len(start)] == start
    assert sum(both.mask[len(start) :]) == sum(sum(renderer.message(one)[1]) for one in (untested, vain))
    assert sum(trajectory.segments[0].mask) + sum(sum(one.mask) for one in trajectory.forgotten) == (
        trajectory.usage.output_tokens)  # fmt: skip


def test_what_was_taken_back_is_not_to_be_drawn_again(env: Environment, renderer: Renderer) -> None:
    asked: list[tuple[int, list[list[int]]]] = []

    class Watching(ScriptedClient):
        def complete(self, messages: Sequence[Message], *, sampling: Sampling, **rest: Any) -> Completion:
            asked.append((len(messages), [one.ids for one in sampling.avoid]))
            return super().complete(messages, sampling=sampling, **rest)

    wrong = edit("return a - b", "return a * b", "runTests")
    untested, vain = edit("total = 0", "total = 1"), edit("return a - b", "return b - a", "runTests")
    said = iter([wrong, untested, vain, edit("return a - b", "return a + b", "runTests"), call("task_complete")])
    run(TASK, env, Watching(renderer, lambda messages: next(said)), Limits(take_backs=9), profile="nano")
    first, second = renderer.answer(wrong), renderer.answer(untested)
    assert asked == [(2, []), (2, [first]), (4, []), (2, [first, second]), (5, [])]


def test_without_take_backs_edits_stay(env: Environment, renderer: Renderer) -> None:
    answers = script(edit("return a - b", "return a * b", "runTests"), call("task_complete"))
    trajectory = run(TASK, env, ScriptedClient(renderer, answers), Limits(), profile="nano")
    assert "+    return a * b" in trajectory.patch
    assert trajectory.taken_back == 0


def test_with_take_backs_the_attempt_ends_when_the_test_runs_are_used_up(env: Environment, renderer: Renderer) -> None:
    said = iter([edit("return a - b", f"return a * {n}", "runTests") for n in range(3)])
    trajectory = run(TASK, env, ScriptedClient(renderer, lambda messages: next(said)),
                     Limits(take_backs=9, max_test_runs=2), profile="nano")  # fmt: skip
    assert (trajectory.stop_reason, trajectory.test_runs, trajectory.taken_back) == ("tests", 2, 2)


@pytest.mark.parametrize(("several", "kept"), [(False, ""), (True, "+    return a + b")])
def test_half_a_repair_is_kept_where_several_functions_are_suspected(
    env: Environment, renderer: Renderer, several: bool, kept: str
) -> None:
    names = "`add` and `mean` in calc/ops.py" if several else "`add` in calc/ops.py"
    task = TASK.model_copy(update={"problem_statement": f"Look at {names}.", "PASS_TO_PASS": [],
                                   "FAIL_TO_PASS": [*TASK.FAIL_TO_PASS, "tests/test_ops.py::test_nowhere"]})
    env.default_tests = ["tests/test_ops.py"]
    env.workspace.write_text("tests/test_ops.py", env.workspace.read_text("tests/test_ops.py")
                             + "\n\ndef test_more():\n    assert False\n")
    said = iter([edit("return a - b", "return a + b", "runTests"), call("task_complete")])
    trajectory = run(task, env, ScriptedClient(renderer, lambda messages: next(said)), Limits(take_backs=9),
                     profile="nano")  # fmt: skip
    assert ("+    return a + b" in trajectory.patch) == bool(kept)


def test_an_answer_that_left_a_change_is_not_taken_back(env: Environment, renderer: Renderer) -> None:
    made = call("replace_string_in_file", filePath="new.py", oldString="", newString="def f(): ...\n")
    void = call("replace_string_in_file", filePath="new.py", oldString="nowhere", newString="x")
    both = Message(role="assistant", tool_calls=[*made.tool_calls, *void.tool_calls])
    trajectory = run(TASK, env, ScriptedClient(renderer, script(both, call("task_complete"))), Limits(take_backs=2),
                     profile="nano")  # fmt: skip
    assert trajectory.taken_back == 0
    assert [o.kind for o in trajectory.outcomes] == ["ok", "no_match", "ok"]
    assert "new.py" in trajectory.patch


def test_before_the_end_what_is_plainly_wrong_is_shown_once(env: Environment) -> None:
    broken = call("replace_string_in_file", filePath="calc/ops.py", oldString="return a - b", newString="return (a + b")
    mended = call("replace_string_in_file", filePath="calc/ops.py", oldString="return (a + b", newString="return a + b")
    left = call("create_file", filePath="/workspace/repro.py", content="import calc\n")
    end = call("task_complete")
    limits = Limits(review=True)
    answers = (call("runTests"), broken, left, end, mended, end)
    trajectory = run(TASK, env, ScriptedClient(None, script(*answers)), limits)
    assert (trajectory.stop_reason, trajectory.turns) == ("complete", len(answers))
    (looked,) = [m.content for m in trajectory.messages[2:] if m.role == "user"]
    assert looked.startswith(
        "Before you finish, one look at the change:\n"
        "- /workspace/calc/ops.py does not parse: line 6: '(' was never closed\n"
        "- the files have changed since tests were last run\n"
        "- new files that may be left over: /workspace/repro.py\n"
    )
    assert "+    return (a + b" in looked


@pytest.mark.parametrize(("answers", "limits"), [
    (FIX, Limits(review=True)),  # nothing to say
    ((*FIX[2:4], call("create_file", filePath="repro.py", content=""), Message(role="assistant", content="Done.")),
     Limits(review=True, max_turns=4)),  # no turn left
    ((*FIX[2:4], call("create_file", filePath="repro.py", content=""), call("task_complete")), Limits()),  # not wanted
    ((Message(role="assistant", content="It adds."),), Limits(review=True)),  # no change
])  # fmt: skip
def test_a_change_without_fault_or_room_is_not_looked_at_again(
    env: Environment, answers: Sequence[Message], limits: Limits
) -> None:
    trajectory = run(TASK, env, ScriptedClient(None, script(*answers)), limits)
    assert (trajectory.stop_reason, trajectory.turns) == ("complete", len(answers))
    assert [m.role for m in trajectory.messages].count("user") == 1
