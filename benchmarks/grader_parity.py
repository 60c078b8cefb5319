"""Agreement of our graders with the upstream ones, on real, authored and generated answers.

    pip install --target UP --no-deps lm_eval==0.4.13 immutabledict inspect_evals==0.26.0 swebench==5.0.2 rouge-score
    PYTHONPATH=src:UP python benchmarks/grader_parity.py [--ifbench CHECKOUT] [--amo CHECKOUT]

IFBench and AMO-Bench are on no package index: give checkouts of allenai/IFBench and meituan-longcat/AMO-Bench. What is
not installed is skipped, and said so. Every disagreement is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from vivace.evals.graders import instructions
from vivace.evals.graders.instructions import language

CASES = Path(__file__).parents[1] / "tests" / "evals" / "instruction_cases.json"
LEXICON = ("level", "radar", "14", "21", "and,", "but!", "Why?", "😀", "harbour", "the", "a", "I", "you", "*", "-",
           "\"quoted\"", "(deep", "[er])", "*stars*", "UPPER.", "Ends.")
Pair = tuple[str, Callable[[], bool], Callable[[], bool]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ifbench", type=Path, help="a checkout of allenai/IFBench")
    parser.add_argument("--amo", type=Path, help="a checkout of meituan-longcat/AMO-Bench")
    parser.add_argument("--show", type=int, default=10, help="disagreements printed of each grader")
    parser.add_argument("--only", default="", help="graders whose name holds this")
    chosen = parser.parse_args()
    import grader_parity_more as more

    graders: dict[str, Callable[[], Iterator[Pair]]] = {
        "ifeval (25 constraints), lm_eval": lm_eval, "ifbench (58 constraints), allenai/IFBench": lambda: ifbench(
            chosen.ifbench), **more.graders(chosen.amo)}
    for name, pairs in graders.items():
        if chosen.only in name:
            report(name, pairs, chosen.show)


def report(name: str, pairs: Callable[[], Iterator[Pair]], show: int) -> None:
    """Print how many verdicts agree, how many are positive, and the first that do not agree."""
    total = positive = 0
    apart: dict[str, list[str]] = {}
    try:
        for label, ours, theirs in pairs():
            mine, upstream = _verdict(ours), _verdict(theirs)
            total, positive = total + 1, positive + (upstream is True)
            if mine != upstream:
                apart.setdefault(label.split(" | ")[0], []).append(f"{label[:160]}: ours {mine}, upstream {upstream}")
    except ImportError as error:
        print(f"{name}: not compared, {error}")
        return
    different = sum(map(len, apart.values()))
    print(f"{name}: {total - different} of {total} agree ({positive} positive upstream)", flush=True)
    for kind, found in sorted(apart.items()):
        print(f"  {kind}: {len(found)}")
        for line in found[:show]:
            print(f"    {line}")


def _verdict(grade: Callable[[], bool]) -> bool | str:
    try:
        return bool(grade())
    except Exception as error:  # noqa: BLE001 - an exception is a verdict too, and is compared
        return type(error).__name__


def classic() -> Any:
    """lm_eval's registry of the 25, without its task manager, which imports much that verifiers do not need."""
    language.sentences("Sets NLTK's data up. It has to be there before upstream looks.")
    root = Path(import_module("lm_eval").__file__ or "").parent
    for name in ("tasks", "tasks.ifeval"):
        package = ModuleType(f"lm_eval.{name}")
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules.setdefault(package.__name__, package)
    return import_module("lm_eval.tasks.ifeval.instructions_registry").INSTRUCTION_DICT


def lm_eval() -> Iterator[Pair]:
    """The 25 classic constraints."""
    registry = classic()
    import_module("langdetect").DetectorFactory.seed = 0
    for name in registry:
        yield from _against(name, registry[name], texts(name, 30))


def ifbench(checkout: Path | None) -> Iterator[Pair]:
    """The 58 constraints, and real answers of the repository's own sample file."""
    if checkout is None:
        raise ImportError("no --ifbench CHECKOUT")
    old = set(classic())
    sys.path.insert(0, str(checkout))
    registry = import_module("ifbench.instructions_registry").INSTRUCTION_DICT
    items = [json.loads(line) for line in (checkout / "data" / "IFBench_test.jsonl").read_text().splitlines()]
    sample = checkout / "data" / "sample_output.jsonl"
    answers = [json.loads(line)["response"] for line in sample.read_text().splitlines()]
    draw = random.Random(5)
    for name in sorted(set(registry) - old):
        yield from _against(name, registry[name], texts(name, 20))
        pairs = [pair for item in items for pair in zip(item["instruction_id_list"], item["kwargs"], strict=True)]
        given = [kwargs for one, kwargs in pairs if one == name]
        for kwargs in given:
            some = [(text, {k: v for k, v in kwargs.items() if v is not None}) for text in draw.sample(answers, 10)]
            yield from _against(name, registry[name], some)


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


def texts(name: str, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Authored answers to a constraint, and `count` of them with random small changes."""
    case = json.loads(CASES.read_text())[name]
    draw = random.Random(name)
    found = [case["good"], case["bad"]]
    while len(found) < count + 2:
        found.append(changed(draw.choice((case["good"], case["good"], case["bad"])), draw))
    return [(text, case["arguments"]) for text in found]


def changed(text: str, draw: random.Random) -> str:
    """A word taken out, put in, doubled or written otherwise; a line break; a mark at the end."""
    parts = text.split(" ")
    at = draw.randrange(len(parts))
    kind = draw.randrange(8)
    if kind == 0 and len(parts) > 1:
        del parts[at]
    elif kind == 1:
        parts.insert(at, draw.choice(LEXICON))
    elif kind == 2:
        parts.insert(at, parts[at])
    elif kind == 3:
        parts[at] = draw.choice((str.upper, str.lower, str.title))(parts[at])
    elif kind == 4:
        parts[at] += draw.choice((",", ".", "\n", "\n\n", "!", "\""))
    elif kind == 5:
        return text + draw.choice((" ", ".", "\n", "?!", "\n* more", " 7", "\""))
    elif kind == 6:
        lines = text.split("\n")
        return "\n".join(lines[draw.randrange(len(lines)) :])
    return " ".join(parts)


if __name__ == "__main__":
    main()
