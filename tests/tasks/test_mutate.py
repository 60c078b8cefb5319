import ast
import heapq
import shlex
import textwrap
from pathlib import Path

import pytest

from vivace.tasks.mutate import Site, apply, functions, operator_names, sites

ONE_OF_EACH = [
    ("cmp_boundary", "a < b", "a <= b"), ("cmp_flip", "a <= b", "a >= b"), ("cmp_negate", "a not  in b", "a in b"),
    ("arith_swap", "a // b", "a / b"), ("bit_swap", "a << b", "a >> b"), ("operand_swap", "a - b.c", "b.c - a"),
    ("sign_drop", "-a", " a"), ("bool_op_swap", "a and b and c", "a and b or c"), ("operand_drop", "a or b", "b"),
    ("not_drop", "not a", "a"), ("condition_negate", "1 if a else 2", "1 if not a else 2"),
    ("ternary_swap", "a if c else b", "b if c else a"), ("const_int_shift", "a[0]", "a[1]"),
    ("slice_shift", "a[:-1]", "a[:-2]"), ("slice_flip", "a[:b]", "a[b:]"), ("bool_literal_flip", "f(True)", "f(False)"),
    ("string_tweak", "'ab'", "'a'"), ("string_tweak", "''", "' '"), ("arg_swap", "f(a, b)", "f(b, a)"),
    ("kwarg_drop", "f(a, key=b)", "f(a)"), ("kwarg_drop", "f(a, x=1, y=2)", "f(a, x=1)"),
    ("method_swap", "a.lstrip(b)", "a.rstrip(b)"), ("method_swap", "min(a)", "max(a)"),
    ("method_drop", "a.strip()", "a"),
    ("range_shift", "range(b)", "range(1, b)"), ("range_shift", "range(a, b)", "range(a, b - 1)"),
    ("variable_misuse", "f(a)", "f(c)"), ("return_none", "a", None), ("return_negate", "a is b", "not (a is b)"),
]  # fmt: skip
STATEMENTS = [
    ("augassign_swap", "a += 1", "a -= 1"), ("raise_remove", "raise ValueError(a)", "pass"),
    ("break_to_continue", "for x in a: break", "for x in a: continue"),
    ("continue_to_break", "while a: continue", "while a: break"),
    ("attribute_misuse", "return self.a + self.b", "return self.a + self.a"),
    ("condition_negate", "if a or b: pass", "if not (a or b): pass"),
]


@pytest.mark.parametrize(("operator", "before", "after"), ONE_OF_EACH)
def test_each_operator_makes_its_edit(operator: str, before: str, after: str | None) -> None:
    head = "def f(a, b, c, d=1):\n    return "
    text = head + before + "\n"
    want = " ".join((head + (after if after is not None else "None")).split())
    assert want in {" ".join(apply(text, s).split()) for s in sites(text) if s.operator == operator}


@pytest.mark.parametrize(("operator", "before", "after"), STATEMENTS)
def test_each_operator_on_statements(operator: str, before: str, after: str) -> None:
    head = "def f(self, a, b):\n    "
    assert head + after in {apply(head + before, s) for s in sites(head + before) if s.operator == operator}


def test_defaults_belong_to_their_own_operator() -> None:
    text = "def f(a=1, b=True): return a\n"
    assert {(s.operator, apply(text, s)) for s in sites(text)} == {
        ("default_change", "def f(a=2, b=True): return a\n"), ("default_change", "def f(a=0, b=True): return a\n"),
        ("default_change", "def f(a=1, b=False): return a\n"), ("return_none", "def f(a=1, b=True): return None\n"),
    }  # fmt: skip


def test_every_operator_is_shown_above() -> None:
    shown = {row[0] for row in ONE_OF_EACH + STATEMENTS} | {"default_change"}
    assert shown == set(operator_names())
    assert len(shown) >= 14


@pytest.mark.parametrize("module", [textwrap, heapq, shlex])
def test_real_modules_every_site_parses_and_differs(module: object) -> None:
    text = Path(module.__file__).read_text()  # type: ignore[attr-defined]
    found = sites(text)
    assert len(found) > 300
    assert found == sites(text)
    seen = ast.dump(ast.parse(text))
    for site in found[::9]:
        mutant = apply(text, site)
        assert ast.dump(ast.parse(mutant)) != seen, site
        changed = [n for n, (a, b) in enumerate(zip(text.split("\n"), mutant.split("\n")), 1) if a != b]
        assert changed == [site.line]
        assert mutant.count("\n") == text.count("\n")


def test_offsets_are_characters_whatever_the_encoding_and_line_ends() -> None:
    text = "def f(a, é):\r\n    x = 'é→', a < é\r\n    return x\r\n"
    assert "def f(a, é):\r\n    x = 'é→', a <= é\r\n    return x\r\n" in {apply(text, s) for s in sites(text)}


def test_lines_filter_docstrings_annotations_and_f_strings() -> None:
    text = 'def f(a: "x", b):\n    """doc"""\n    c = f"{a + b}"\n    return a + b\n'
    assert {s.line for s in sites(text)} == {4}
    assert sites(text, lines={3}) == []
    assert {s.qualname for s in sites(text)} == {"f"}
    assert sites("x = 1 + 2\n") == []


def test_functions_and_qualified_names() -> None:
    text = "class A:\n    def m(self):\n        def inner():\n            return 1\n        return inner\n"
    assert [(f.qualname, f.name, f.line, f.length) for f in functions(text)] == [
        ("A.m", "m", 2, 4), ("A.m.inner", "inner", 3, 2)]
    assert {s.qualname for s in sites(text)} == {"A.m", "A.m.inner"}


def test_words_stay_apart() -> None:
    text = "def f(a, b):\n    return-a if(a)else b\n"
    for site in sites(text):
        ast.parse(apply(text, site))


def test_a_site_is_a_plain_value() -> None:
    site = Site(0, 1, "x", "y", 1, "f")
    assert apply("abc", site) == "ybc"
