import ast
import gc
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vivace.core.syntax import python_expression, python_tree

TEXTS = [path.read_text() for path in sorted(Path("src/vivace/harness").glob("*.py"))] * 3


@pytest.fixture
def handing_over() -> Iterator[None]:
    """The garbage collector runs often, and lets another thread in each time."""
    before = gc.get_threshold()

    def hand_over(phase: str, info: dict[str, int]) -> None:
        time.sleep(1e-5)

    gc.callbacks.append(hand_over)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(hand_over)


def in_threads(parse: Callable[[str], ast.Module]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for made in [pool.submit(parse, text) for text in TEXTS]:
            assert made.result().body


def test_threads_do_not_meet_in_the_parser(handing_over: None) -> None:
    in_threads(python_tree)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later interpreters may have mended it")
def test_without_the_lock_they_would(handing_over: None) -> None:
    with pytest.raises(SystemError, match="recursion depth mismatch"):
        in_threads(ast.parse)


def test_errors_are_those_of_the_parser() -> None:
    with pytest.raises(SyntaxError):
        python_tree("def f(:")
    with pytest.raises(SyntaxError):
        python_expression("x = 1")
    assert isinstance(python_expression("1 + 2").body, ast.BinOp)
