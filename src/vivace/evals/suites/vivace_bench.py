"""vivace-bench: our task families on packages that no training has seen, in the harness that ships."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Task
from vivace.evals.suites.base import CasePlay, Info, Setting, Suite
from vivace.harness.loop import Limits
from vivace.harness.prompts import prompt_hash
from vivace.harness.tools.registry import get_profile
from vivace.sandbox import open_sandbox
from vivace.tasks.attempt import Player
from vivace.tasks.layers import build_layers
from vivace.tasks.registry import read_tasks
from vivace.tasks.sources import load_manifest

PROFILE, MANIFEST = "nano", "packages.toml"


class Bound(Task):
    """A task with the manifest that its environment is built from."""

    manifest: Path


def load(path: Path) -> list[Bound]:
    """A file of held-out task rows; the manifest is packages.toml beside it, above it, or in the run it is of."""
    file = path / "eval.jsonl" if path.is_dir() else path
    places = (file.parent, file.parent.parent, file.parent.parent / "sources")
    manifest = next((place / MANIFEST for place in places if (place / MANIFEST).exists()), None)
    if manifest is None:
        raise BadInput(f"no {MANIFEST} near {file}; put the manifest of its packages beside it")
    return [Bound(**task.model_dump(), manifest=manifest) for task in read_tasks(file, split="eval")]


def limits(setting: Setting) -> Limits:
    """400 tokens, 120 an answer, 20 turns, five test runs, or the turns and tokens asked for. With a single turn the
    answer may have all tokens and one test run, as in the demo's evaluation. Greedy, nothing is taken back: the same
    answer would be drawn again.
    """
    alone = setting.turns == 1
    return Limits(max_turns=setting.turns or 20, max_output_tokens=setting.max_tokens,
                  max_turn_tokens=setting.max_tokens if alone else max(1, setting.max_tokens * 3 // 10),
                  max_test_runs=1 if alone else 5, take_backs=0 if alone or setting.temperature == 0 else 20)


def harness(setting: Setting) -> Mapping[str, Any]:
    profile = get_profile(PROFILE)
    return {"kind": "agent", "profile": PROFILE, "tools": profile.hash(), "prompt": prompt_hash(profile),
            "limits": limits(setting).model_dump()}


@contextmanager
def session(
    items: Sequence[Bound], client: Client, roles: Mapping[str, Client], setting: Setting,
) -> Iterator[CasePlay]:
    """Layers and test servers for the items; the verdict is `tasks.grade`'s, as in training."""
    manifest = load_manifest(items[0].manifest)
    layers = build_layers(manifest, [manifest.by_env(env) for env in sorted({item.env for item in items})])
    allowed = limits(setting)
    window = getattr(client, "window", allowed.max_context)  # a native model reads no more than its own
    allowed = allowed.model_copy(update={"max_context": min(allowed.max_context, window)})
    with Player(layers, open_sandbox(), allowed, profile=PROFILE, temperature=setting.temperature) as player:

        def play(item: Bound, seed: int, sample: int) -> Attempt:
            task = Task(**item.model_dump(exclude={"manifest"}))
            return player(task, client, seed=seed, sample=sample)

        yield play


SUITE = Suite(
    Info(name="vivace-bench", title="vivace-bench", items="572 in recipes/tasks/eval.jsonl",
         source="recipes/tasks/eval.jsonl", licence="each package's own, named in its row",
         metric="share of tasks whose hidden tests pass", clustered=True, max_tokens=400, ships=True, sandboxed=True,
         grader={"version": "1", "code": "tasks.grade", "fresh_workspace": True, "canary": True}),
    load, session=session, harness=harness,
)
