"""tau2-bench, telecom: an agent with tools helps a user, played by another model that has tools of its own on a phone.

Both sides draw at temperature 0 (the agent at the evaluation's temperature). The verdict is on the world as it is when
the user ends the dialogue: every env_assertion of the task, and its actions where the task's reward_basis names them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import cache_dir, place_folder
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Message, ToolCall
from vivace.evals.graders import tau2
from vivace.evals.suites import dialogue
from vivace.evals.suites.base import Case, CasePlay, Info, Setting, Suite
from vivace.evals.suites.rows import rows
from vivace.harness.clients.scripted import ScriptedClient

NAME, SPLIT = "tau2-telecom", "base"
BASES = ("ENV_ASSERTION", "ACTION")
BEGIN = ("Begin the interaction. Remember you are the customer, and you are interacting with a customer service agent.")
AGENT = """<instructions>
You are a customer service agent that helps the user according to the <policy> provided below.
In each turn you can either:
- Send a message to the user.
- Make a tool call.
You cannot do both at the same time.

Try to be helpful and always follow the policy. Always make sure you generate valid JSON only.
</instructions>
{policy}"""
STOPS = ("###STOP###", "###OUT-OF-SCOPE###", "###TRANSFER###")


def load(path: Path) -> list[Case]:
    """Tasks as upstream's tasks.json has them; a folder holds tasks.json[.gz] and split_tasks.json, of which the base
    split is taken. Fields id, user_scenario, initial_state, evaluation_criteria."""
    found = []
    for row in _rows(path):
        try:
            criteria, state = row["evaluation_criteria"] or {}, row.get("initial_state") or {}
            told = tau2.scenario(row["user_scenario"])
        except (KeyError, ValueError) as error:
            raise BadInput(f"{path}: {row.get('id')} is no task of tau2-bench: {error}"[:300]) from error
        if beyond := [one for one in criteria.get("reward_basis", []) if one not in BASES]:
            raise BadInput(f"{row['id']} is also graded by {beyond[0]}, as telecom's tasks are not; give those")
        if state.get("initialization_data") or state.get("message_history"):
            raise BadInput(f"{row['id']} starts from data or messages of its own, which telecom's tasks do not")
        found.append(Case(id=f"{NAME}/{row['id']}", cluster=row["id"].split("]")[0].strip("["), messages=[], target={
            "scenario": told, "steps": state.get("initialization_actions") or [], "criteria": criteria}))
    return found


def real() -> tuple[Path, str]:
    """The published tasks, out of the pinned wheel."""
    source, words = tau2.folder() / "data" / "domains" / "telecom", f"{tau2.PACKAGE.pin}, split {SPLIT}"
    target = cache_dir("tau2") / f"telecom-{tau2.PACKAGE.sha256[:12]}"
    if not target.is_dir():
        scratch = target.with_name(f".{target.name}")
        scratch.mkdir(exist_ok=True)
        (scratch / "tasks.json").write_bytes(gzip.decompress((source / "tasks.json.gz").read_bytes()))
        (scratch / "split_tasks.json").write_bytes((source / "split_tasks.json").read_bytes())
        place_folder(scratch, target)
    return target, words


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_dir():
        return rows(path)
    if not (path / "split_tasks.json").exists():
        raise BadInput(f"{path} has no split_tasks.json; give the folder data/tau2/domains/telecom, or a tasks file")
    wanted = set(json.loads((path / "split_tasks.json").read_text())[SPLIT])
    return [row for row in rows(path / "tasks.json") if row["id"] in wanted]


def sides(case: Case, world: tau2.World, client: Client, user: Client) -> tuple[dialogue.Side, dialogue.Side]:
    """The agent and the user of a task."""
    agent_tools, user_tools = tau2.tools("assistant"), tau2.tools("user")
    prompt = f"{tau2.guidelines()}\n<scenario>\n{case.target['scenario']}\n</scenario>\n"

    def side(client: Client, system: str, tools: Mapping[str, tau2.Tool], first: list[Message]) -> dialogue.Side:
        if client.codec is not None:  # a native model reads of its tools in its system message
            system = f"{system}\nTools:\n" + "\n".join(tool.signature for tool in tools.values())
        return dialogue.Side(client, [Message(role="system", content=system), *first],
                             [tool.schema for tool in tools.values()], lambda call: world.call(tools, call))

    return (side(client, AGENT.format(policy=tau2.policy()), agent_tools, []),
            side(user, prompt, user_tools, [Message(role="user", content=BEGIN)]))


def play(case: Case, client: Client, user: Client, setting: Setting, seed: int, sample: int) -> Attempt:
    """One dialogue, graded on the world it leaves."""
    world = tau2.World(case.target["steps"])
    agent, other = sides(case, world, client, user)
    limits = dialogue.Limits(max_tokens=setting.max_tokens, steps=setting.turns or dialogue.STEPS)
    held = dialogue.converse(case.id, agent, other, STOPS, limits, setting.temperature, seed)
    verdict = held.verdict or grade(case.target["criteria"], world, agent.calls, other.calls)
    return Attempt(task_id=case.id, repo=case.cluster, sample=sample, model=client.name, trajectory=held.trajectory,
                   grade=verdict, others={"user": other.usage})


def grade(criteria: Mapping[str, Any], world: tau2.World, agent: Sequence[ToolCall], user: Sequence[ToolCall]) -> Grade:
    """1 if every assertion holds (and every action was called, where the basis has ACTION), else 0."""
    wrong = [one["func_name"] for one in criteria.get("env_assertions") or [] if not world.holds(one)]
    basis = criteria.get("reward_basis") or ["ENV_ASSERTION"]
    undone = [action["name"] for action in criteria.get("actions") or []
              if not any(matches(action, call) for call in (agent if action.get("requestor") != "user" else user))]
    scores = {"assertions": float(not wrong), "actions": float(not undone)}
    if wrong and "ENV_ASSERTION" in basis:
        return Grade(status="failed", scores=scores, detail=f"does not hold: {', '.join(wrong)}"[:200])
    if undone and "ACTION" in basis:
        return Grade(status="failed", scores=scores, detail=f"not called: {', '.join(undone)}"[:200])
    return Grade(status="solved", scores=scores)


def matches(action: Mapping[str, Any], call: ToolCall) -> bool:
    """Whether a call is the action: its name, and its arguments, or those of compare_args (none: any will do)."""
    if call.name != action["name"]:
        return False
    if call.name == "transfer_to_human_agents":
        return True
    wanted, compared = action.get("arguments") or {}, action.get("compare_args")
    if compared is None:
        return _alike(call.arguments, wanted)
    return all(_alike(call.arguments.get(key), wanted.get(key)) for key in compared)


def _alike(a: Any, b: Any) -> bool:
    """Equality that takes 2 and 2.0, and lists in any order, for the same."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        left = list(b)
        for one in a:
            at = next((i for i, other in enumerate(left) if _alike(one, other)), None)
            if at is None:
                return False
            del left[at]
        return not left
    return bool(a == b)


@contextmanager
def session(
    items: Sequence[Case], client: Client, roles: Mapping[str, Client], setting: Setting,
) -> Iterator[CasePlay]:
    """Dialogues with the model named by --user."""
    yield lambda item, seed, sample: play(item, client, roles["user"], setting, seed, sample)


def harness(setting: Setting) -> Mapping[str, Any]:
    return {"kind": "dialogue", "version": dialogue.VERSION, "steps": setting.turns or dialogue.STEPS,
            "user_temperature": 0.0, "reasoning": "not shown to the other side"}


def by_the_book(case: Case) -> tuple[ScriptedClient, ScriptedClient]:
    """An agent and a user that do the task's reference actions in order, each its own."""
    left = list(case.target["criteria"].get("actions") or [])

    def policy(who: str) -> Callable[[Sequence[Message]], Message]:
        def next_words(messages: Sequence[Message]) -> Message:
            if who == "user" and len(messages) < 3:  # the agent is to have a turn, whatever there is to do
                return Message(role="assistant", content="Hello.")
            if left and (left[0].get("requestor") == "user") == (who == "user"):
                action = left.pop(0)
                return Message(role="assistant", tool_calls=[
                    ToolCall(name=action["name"], arguments=action.get("arguments") or {}, id=f"c{len(left)}")])
            return Message(role="assistant", content="Done." if left or who == "agent" else STOPS[0])

        return next_words

    return ScriptedClient(None, policy("agent"), "book"), ScriptedClient(None, policy("user"), "book-user")


def check(path: Path) -> tuple[list[float], list[float]]:
    """Gold: the reference actions. Wrong: neither side does anything."""
    gold, wrong = list[float](), list[float]()
    for case in load(path):
        idle = case.model_copy(update={"target": {**case.target, "criteria": {}}})
        for scores, script in ((gold, case), (wrong, idle)):
            agent, user = by_the_book(script)
            scores.append(float(play(case, agent, user, Setting(4096), 0, 0).grade.solved))
    return gold, wrong


SUITE = Suite(
    Info(name=NAME, title="tau2-bench telecom", items="114 (split base)", licence="MIT", roles=("user",), repeats=4,
         source=f"sierra-research/tau2-bench; its tasks come out of {tau2.PACKAGE.pin} on PyPI",
         metric="share of tasks whose world ends as wanted (pass^1; pass^k for k repeats in evaluation.json)",
         max_tokens=32_768, clustered=True,
         grader={"version": "1", "reward": "env_assertions, and actions where reward_basis has ACTION", "split": SPLIT,
                 "not_ended_by_user": 0},
         notes="The published figures use gpt-4.1-2025-04-14 as user, at temperature 0; the simulator alone can move a "
               "rate by tens of points, so it is part of the run's identity. An item's cluster is its issue."),
    load, session=session, harness=harness, found=tau2.identity, check=check, real=real,
)
