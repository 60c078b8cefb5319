"""Runs *inside* the sandbox, as a script: what functions of a package are called with, and what they return.

It imports nothing of Vivace. One JSON request on standard input. {"mode": "record", "files": {path: module}, "args",
"targets", "result"}: runs the suite with pytest and writes {path: {function: [argument lists as source text]}} for
functions at the top of these files. {"mode": "evaluate", "items": [[module, function, [argument texts]]],
"result"}: writes one list of outcomes an item, each ["value", text], ["other", type name], ["raises", type name,
message], ["hangs"] or ["missing"].
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_CALLS, MOST_TEXT, SECONDS = 40, 160, 1.0
PLAIN = (int, str, bytes, bool, type(None))
VARIADIC_OR_LAZY = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # *args, **kwargs, generators, coroutines


def plain(value: Any, depth: int = 0) -> bool:
    """Whether a value's text is a literal that stands for it."""
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is float:
        return value == value and value not in (float("inf"), float("-inf"))
    if depth > 4:
        return False
    if kind in (list, tuple) or (kind is set and value):
        return len(value) <= 40 and all(plain(one, depth + 1) for one in value)
    if kind is dict:
        return len(value) <= 40 and all(plain(k, depth + 1) and plain(v, depth + 1) for k, v in value.items())
    return False


def text_of(value: Any) -> str | None:
    """A literal for a value, sets in order; None if there is none, or a long one."""
    if not plain(value):
        return None
    text = repr(value)
    if isinstance(value, set):
        text = "{" + ", ".join(sorted(map(repr, value))) + "}"
    return text if len(text) <= MOST_TEXT else None


def watch(function: Any, held: list[str]) -> Any:
    """A stand-in for a function that notes what it is called with."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    signature = inspect.signature(function)

    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        if len(held) < MOST_CALLS:
            with contextlib.suppress(TypeError):
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                texts = [text_of(bound.arguments[name]) for name in names]
                if None not in texts:
                    line = ", ".join(str(text) if number < code.co_argcount else f"{name}={text}"
                                     for number, (name, text) in enumerate(zip(names, texts)))
                    if line not in held:
                        held.append(line)
        return function(*args, **kwargs)

    return noting


def record(request: dict[str, Any]) -> Any:
    """Functions are replaced wherever a module knows them by now, before the tests are imported."""
    import pytest

    calls: dict[str, dict[str, list[str]]] = {}
    modules = {}
    for path, name in request["files"].items():
        with contextlib.suppress(BaseException):  # a module need not import
            modules[path] = importlib.import_module(name)
    for path, module in modules.items():
        for name, value in list(vars(module).items()):
            if not inspect.isfunction(value) or value.__name__ != name or value.__code__.co_flags & VARIADIC_OR_LAZY:
                continue
            if os.path.abspath(path) == value.__code__.co_filename and hasattr(value, "__module__"):
                stand_in = watch(value, calls.setdefault(path, {}).setdefault(name, []))
                for other in list(sys.modules.values()):
                    if getattr(other, name, None) is value:
                        setattr(other, name, stand_in)
    fixed = ["--rootdir=.", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-q", "--tb=no"]
    pytest.main([*fixed, "--continue-on-collection-errors", *request["args"], *request["targets"]])
    return calls


def late(number: int, frame: Any) -> None:
    raise TimeoutError


def outcome(function: Any, arguments: str) -> list[str]:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            value = eval(f"f({arguments})", {"f": function})
            text = text_of(value)
        return ["value", text] if text is not None else ["other", type(value).__name__]
    except TimeoutError:
        return ["hangs"]
    except Exception as error:  # noqa: BLE001  (whatever it is, it is the outcome)
        return ["raises", type(error).__name__, str(error)[:MOST_TEXT]]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def evaluate(request: dict[str, Any]) -> Any:
    signal.signal(signal.SIGALRM, late)
    found = []
    for module, name, calls in request["items"]:
        try:
            function = getattr(importlib.import_module(module), name)
        except Exception:  # noqa: BLE001  (a mutant need not import)
            found.append([["missing"]] * len(calls))
            continue
        found.append([outcome(function, arguments) for arguments in calls])
    return found


def main() -> None:
    request = json.load(sys.stdin)
    sys.path[0] = os.getcwd()
    sys.argv = ["pytest"]
    found = {"record": record, "evaluate": evaluate}[request["mode"]](request)
    with open(request["result"], "w") as file:
        json.dump(found, file, separators=(",", ":"))
    os._exit(0)


if __name__ == "__main__":
    main()
