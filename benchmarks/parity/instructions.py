"""IFEval's 25 constraints beside lm_eval's, IFBench's 58 beside allenai's."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from parity.compare import Pair, changed
from vivace.text import instructions
from vivace.text.instructions import language

CASES = Path(__file__).parents[2] / "tests" / "evals" / "instruction_cases.json"


def classic() -> Any:
    """lm_eval's registry of the 25, without its task manager, which imports much that verifiers do not need."""
    language.sentences("Sets NLTK's data up. It has to be there before upstream looks.")
    root = Path(import_module("lm_eval").__file__ or "").parent
    for name in ("tasks", "tasks.ifeval"):
        package = ModuleType(f"lm_eval.{name}")
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules.setdefault(package.__name__, package)
    return import_module("lm_eval.tasks.ifeval.instructions_registry").INSTRUCTION_DICT


def ifeval() -> Iterator[Pair]:
    """Authored answers to every constraint, and changed ones."""
    registry = classic()
    import_module("langdetect").DetectorFactory.seed = 0
    for name in registry:
        yield from _against(name, registry[name], _texts(name, 30))


def ifbench(checkout: Path | None) -> Iterator[Pair]:
    """The same, and the model answers of the repository's own sample file under the real items' arguments."""
    if checkout is None:
        raise ImportError("give a checkout of allenai/IFBench with --ifbench")
    old = set(classic())
    sys.path.insert(0, str(checkout))
    registry = import_module("ifbench.instructions_registry").INSTRUCTION_DICT
    items = [json.loads(line) for line in (checkout / "data" / "IFBench_test.jsonl").read_text().splitlines()]
    sample = checkout / "data" / "sample_output.jsonl"
    answers = [json.loads(line)["response"] for line in sample.read_text().splitlines()]
    draw = random.Random(5)
    for name in sorted(set(registry) - old):
        yield from _against(name, registry[name], _texts(name, 20))
        pairs = [pair for item in items for pair in zip(item["instruction_id_list"], item["kwargs"], strict=True)]
        for kwargs in (kwargs for one, kwargs in pairs if one == name):
            given = {key: value for key, value in kwargs.items() if value is not None}
            yield from _against(name, registry[name], [(text, given) for text in draw.sample(answers, 10)])


def _against(name: str, checker: Any, answers: list[tuple[str, dict[str, Any]]]) -> Iterator[Pair]:
    if name == "words:start_verb" and not language.has_tagger():
        return
    for text, given in answers:
        if not text.strip():
            continue

        def theirs(text: str = text, given: dict[str, Any] = given) -> bool:
            instruction = checker(name)
            instruction.build_description(**given)
            return bool(instruction.check_following(text))

        yield (f"{name} | {text!r}", lambda text=text, given=given: instructions.follows(name, text, given), theirs)


def _texts(name: str, count: int) -> list[tuple[str, dict[str, Any]]]:
    case = json.loads(CASES.read_text())[name]
    draw = random.Random(name)
    found = [case["good"], case["bad"]]
    while len(found) < count + 2:
        found.append(changed(draw.choice((case["good"], case["good"], case["bad"])), draw))
    return [(text, case["arguments"]) for text in found]
