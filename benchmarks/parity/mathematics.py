"""AMO-Bench beside its repository, AIME and GPQA beside Inspect's scorers."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from parity.compare import Pair
from vivace.core.types import Message
from vivace.evals.suites import aime2026, amo, gpqa
from vivace.evals.suites.base import Bench, Case

NUMBERS = ("\\frac{5}{6}", "\\sqrt{2}", "2^{10}", "-3", "1024", "0.8333", "\\frac{10}{12}", "\\pi", "3\\sqrt{3}", "12!",
           "\\dfrac{1}{7}", "1{,}024", "\\sqrt[3]{2}", "10^{-2}")
SETS = ("\\{1, 2\\}", "\\{2, 1\\}", "\\{-2, 2\\}", "\\{1, 2, 3\\}", "\\{\\frac12, 3\\}", "\\{0\\}")
FORMULAS = ("n^2", "n(n+1)/2", "\\frac{n(2n)}{2}", "n^2+1", "\\frac{n(n+1)}{2}", "2^n", "n\\cdot n", "n!")
WRAPS = ("### The final answer is: $\\boxed{{{}}}$", "Thus.\n### The final answer is: \\boxed{{{}}}.",
         "### Final answer: ${}$", "so \\boxed{{{}}} it is", "### The final answer is: $x = {}$",
         "### The final answer is: $\\boxed{{\\left({}\\right)}}$", "### The final answer is: {}\n---\nas shown")


def _case(answer: str, kind: str, tries: list[str]) -> Case:
    return Case(id="amo-bench/0", messages=[Message(role="user", content="")],
                target={"answer": answer, "type": kind, "problem": "", "tries": tries})


def amo_bench(checkout: Path | None) -> Iterator[Pair]:
    """The types that are graded without a judge, every gold value against every other in every wrapping."""
    if checkout is None:
        raise ImportError("give a checkout of meituan-longcat/AMO-Bench with --amo")
    if "timeout_function_decorator" not in sys.modules:  # a decorator that upstream takes for its time limit
        stand_in: Any = ModuleType("timeout_function_decorator")
        stand_in.timeout = lambda seconds: lambda function: function
        sys.modules["timeout_function_decorator"] = stand_in
    sys.path.insert(0, str(checkout))
    upstream = import_module("utils")
    draw = random.Random(3)
    for kind, values, tries in (("number", NUMBERS, []), ("set", SETS, []), ("variable", FORMULAS, amo.TRIES[5][:6])):
        for gold in values:
            for found in [*draw.sample(values, min(8, len(values))), gold]:
                text = draw.choice(WRAPS).format(found)
                answer = f"$\\boxed{{{gold}}}$"
                info = {"answer": answer, "answer_type": kind, "try_list": tries}
                yield (f"amo {kind} | {gold} {text!r}",
                       lambda t=text, a=answer, k=kind, p=tries: amo.grade(_case(a, k, p), t, Bench()).solved,
                       lambda t=text, i=info: _upstream_amo(upstream, t, i))


def _upstream_amo(upstream: Any, text: str, info: dict[str, Any]) -> bool:
    check: Callable[..., Any] = (upstream.verify_variable_answer if info["answer_type"] == "variable"
                                 else upstream.verify_number_set_answer)
    found = upstream.pred_extractor(text, info["answer_type"])
    for one in (found, upstream.pred_cut(found)):
        try:
            if check(one, info) is True:
                return True
        except Exception:  # noqa: BLE001 - upstream's own grading counts an exception as wrong
            continue
    return False


def aime() -> Iterator[Pair]:
    """Whole numbers from 0 to 999 in the ways that models write their last line."""
    match = import_module("inspect_ai.scorer._common").match_str
    common = import_module("inspect_evals.utils.aime_common")
    wraps = ("ANSWER: {}", "so\nANSWER: {}", "ANSWER: $\\boxed{{{}}}$", "ANSWER: ${}$", "**ANSWER: {}**", "ANSWER: {}.",
             "ANSWER: \\boxed{{{}}}", "It is {}.\nANSWER: {}", "The answer is \\boxed{{{}}}", "ANSWER: 0{}")
    draw = random.Random(7)
    for number in range(250):
        gold = draw.randrange(1000)
        said = gold if number % 2 else draw.randrange(1000)
        text = draw.choice(wraps).replace("{}", str(said)).replace("{{", "{").replace("}}", "}")
        text = text.replace("{" + str(said) + "}}", "{" + str(said) + "}")

        def theirs(text: str = text, gold: int = gold) -> bool:
            line = common.remove_boxed_from_ans(common._find_last_substantive_line(text))
            return bool(match(value=line, target=str(gold), location="end", numeric=True)[1])

        case = Case(id="aime2026/0", messages=[], target={"answer": str(gold)})
        yield (f"aime | gold {gold} {text!r}", lambda c=case, t=text: aime2026.grade(c, t, Bench()).solved, theirs)


def choices() -> Iterator[Pair]:
    """The letter that Inspect's multiple-choice solver reads, and ours."""
    solver = import_module("inspect_ai.solver._multiple_choice")
    model = import_module("inspect_ai.model")
    wraps = ("ANSWER: {}", "First B.\nANSWER: {}", "ANSWER: ({})", "**ANSWER: {}**", "ANSWER: {}.", "answer: {}",
             "ANSWER: $\\boxed{{{}}}$", "Maybe ANSWER: A? No.\nANSWER: {}", "the answer is {}", "ANSWER: {} because")
    draw = random.Random(11)
    for number in range(250):
        letter, gold = draw.choice("ABCD"), draw.choice("ABCD")
        text = draw.choice(wraps).format(letter)

        def theirs(text: str = text, gold: str = gold) -> bool:
            state = solver.TaskState(
                model=model.ModelName("mockllm/model"), sample_id="s", epoch=1, input="q", messages=[], target="A",
                choices=["w", "x", "y", "z"], output=model.ModelOutput.from_content("m", text))
            found = solver.parse_answers(state, False)
            return found == {gold} or found == gold

        case = Case(id=f"gpqa-diamond/{number}", messages=[], target={"letter": gold})
        yield (f"gpqa | gold {gold} {text!r}", lambda c=case, t=text: gpqa.grade(c, t, Bench()).solved, theirs)
