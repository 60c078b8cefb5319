"""The worker of `mathematics`: a request in JSON a line, a verdict a line. Run by path; needs math-verify only."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from math_verify import parse, verify
from sympy import solve


class OutOfTime(BaseException):
    """No Exception: the parser catches those itself, and would go on."""


def equal(gold: str, answer: str, rounding: int = 6) -> bool:
    """Whether the answer means the gold value, in that order."""
    left, right = _parse(gold), _parse(answer)
    return bool(left and right and _same(left, right, rounding))


def either_way(gold: str, answer: str, rounding: int = 4) -> bool:
    """Equal in one order or the other, or what follows the answer's last equals sign is."""
    left, right = _parse(gold), _parse(answer)
    found = _same(left, right, rounding) or _same(right, left, rounding)
    if not found and right and "=" in str(right[-1]):
        last = _parse("\\boxed{" + str(right[-1]).split("=")[-1] + "}")
        found = _same(left, last, rounding) or _same(last, left, rounding)
    return found


def same_formula(gold: str, answer: str, tries: Sequence[str]) -> bool:
    """Whether two formulas have the same value for every assignment such as `a=2,b=3`."""
    said = _parse(answer)
    if not said:
        return False
    formula = str(said[-1])
    for space in ("\\qquad", "\\quad"):
        formula = formula.split(space)[-2].strip() if space in formula else formula
    return all(_value(one, formula.split("=")[-1], str(_parse(gold)[-1]).split("=")[-1]) for one in tries)


def _value(assignment: str, answer: str, gold: str) -> bool:
    values = []
    for formula in (gold, answer):
        found: Any = solve(_parse("\\boxed{" + assignment + ", y=" + formula + "}")[0])
        found = found[0] if isinstance(found, list) and found else found
        value = next((found[name] for name in found if str(name) == "y"), None) if found else None
        if value is None:
            return False
        values.append(value.evalf())
    return _same(values[0], values[1], 8) or _same(values[1], values[0], 8)


def _parse(text: str) -> list[Any]:
    return list(parse(text, parsing_timeout=None))


def _same(left: Any, right: Any, rounding: int) -> bool:
    return bool(verify(left, right, float_rounding=rounding, timeout_seconds=None))


OPERATIONS: dict[str, Callable[..., bool]] = {
    "equal": equal, "either_way": either_way, "same_formula": same_formula,
}


def main(seconds: float) -> None:
    """`seconds` of processor time a comparison: a busy machine must not make right answers wrong."""
    signal.signal(signal.SIGPROF, _out_of_time)
    print("ready", flush=True)  # imports take long on a busy machine, and are no answer's fault
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            found = OPERATIONS[name](*arguments)
        except (Exception, OutOfTime):  # noqa: BLE001 - whatever an answer breaks in the parser, it is wrong
            found = False
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(found), flush=True)


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTime


if __name__ == "__main__":
    main(float(sys.argv[1]))
