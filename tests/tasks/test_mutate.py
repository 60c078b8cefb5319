import ast
import heapq
import shlex
import textwrap
from pathlib import Path

import pytest

from vivace.tasks.mutate import Site, apply, functions, operator_names, sites
from vivace.tasks.operators.leftovers import LEFTOVERS, removals

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


WIDE = [
    ("if_else_swap", "if a:\n        b = 1\n    else:\n        b = 2  # two",
     "if a:\n        b = 2\n    else:\n        b = 1  # two"),
    ("guard_remove", "if not a:\n        return None\n    return a", "pass\n    return a"),
    ("elif_break", "if a:\n        b = 1\n    elif b:\n        b = 2",
     "if a:\n        b = 1\n    if b:\n        b = 2"),
    ("condition_force", "if a > b:\n        return a", "if False:\n        return a"),
    ("condition_force", "if a > b:\n        return a", "if True:\n        return a"),
    ("condition_force", "while a > b:\n        a = f(a)", "while False:\n        a = f(a)"),
    ("loop_once", "for x in a:\n        b += x\n    return b",
     "for x in a:\n        b += x\n        break\n    return b"),
    ("loop_remove", "for x in a:\n        b += x\n    return b", "pass\n    return b"),
    ("assign_remove", "a.b = 1\n    return a", "pass\n    return a"),
    ("assign_remove", "b += a\n    return b", "pass\n    return b"),
    ("handler_remove", "try:\n        b = a[0]\n        c = 1\n    except IndexError:\n        b = 0\n    return b",
     "b = a[0]\n    c = 1\n    return b"),
    ("except_change", "try:\n        b = a\n    except (KeyError, IndexError):\n        b = 0",
     "try:\n        b = a\n    except KeyError:\n        b = 0"),
    ("except_change", "try:\n        b = a\n    except Exception:\n        b = 0",
     "try:\n        b = a\n    except ValueError:\n        b = 0"),
    ("statement_swap", "b = a\n    a = f(b)  # then\n    return a", "a = f(b)\n    b = a  # then\n    return a"),
    ("super_init_drop", "super().__init__(a)\n    return b", "pass\n    return b"),
    ("identity_confuse", "return a == b", "return a is b"), ("identity_confuse", "return a != b", "return a is not b"),
    ("copy_drop", "return list(a)", "return a"), ("copy_drop", "return copy.deepcopy(a.b)", "return a.b"),
    ("sort_reverse", "return sorted(a, key=b)", "return sorted(a, key=b, reverse=True)"),
    ("sort_reverse", "a.sort()", "a.sort(reverse=True)"), ("arg_drop", "return f(a, b)", "return f(a)"),
    ("pattern_change", "return re.match(r'a+b', a)", "return re.match(r'a*b', a)"),
    ("pattern_change", "return re.sub('^x', b, a)", "return re.sub('x', b, a)"),
    ("chain_break", "return a + b + self", "return a + self"),
    ("yield_whole", "yield from a", "yield a"), ("yield_none", "yield a", "yield None"),
    ("dict_swap", "return {k: f(v) for k, v in a}", "return {f(v): k for k, v in a}"),
    ("filter_drop", "return [x for x in a if x > b]", "return [x for x in a]"),
    ("key_misuse", "return a['x'] + b['y']", "return a['y'] + b['y']"),
    ("code_comment", "self.a = b\n    return a", "# self.a = b\n    return a"),
    ("code_comment", "if a:\n        raise b", "if a:\n        pass  # raise b"),
    ("debug_return", "a = f(b)\n    return a", "a = f(b)\n    return None\n    return a"),
    ("debug_raise", "if a:\n        b += 1", "if a:\n        raise NotImplementedError\n        b += 1"),
    ("debug_value", "b = f(a)\n    return b", "b = f(a)\n    b = None\n    return b"),
    ("condition_off", "while a > b:\n        a = f(a)", "while a > b and False:\n        a = f(a)"),
    ("condition_on", "if a:\n        b = 1", "if a or True:\n        b = 1"),
    ("line_twice", "b += a\n    return b", "b += a\n    b += a\n    return b"),
    ("line_twice", "self.a.append(b)\n    return a", "self.a.append(b)\n    self.a.append(b)\n    return a"),
    ("first_only", "for x in f(a):\n        b += x", "for x in f(a)[:1]:\n        b += x"),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "before", "after"), WIDE)
def test_each_wide_operator(operator: str, before: str, after: str) -> None:
    head = "def f(self, a, b):\n    "
    assert head + after in {apply(head + before, s) for s in sites(head + before, wide=True) if s.operator == operator}
    assert not any(s.operator == operator for s in sites(head + before))


def test_await_drop() -> None:
    text = "async def f(a):\n    b = await g(a)\n    return b"
    assert text.replace("await ", "") in {apply(text, s) for s in sites(text, wide=True) if s.operator == "await_drop"}


@pytest.mark.parametrize("text", [
    "def f(a):\n    return a == 1", "def f(a):\n    return a is None", "def f(a):\n    return sorted(a, reverse=b)",
    "def f(a):\n    if a: return 1\n    else: return 2", "def f(a):\n    return f(*a)",
])  # fmt: skip
def test_wide_operators_leave_alone_what_they_would_spoil(text: str) -> None:
    left_alone = {"identity_confuse", "sort_reverse", "if_else_swap", "arg_drop"}
    assert not left_alone & {s.operator for s in sites(text, wide=True)}


@pytest.mark.parametrize(("text", "operators"), [
    ('def f(a):\n    """Doc."""', {*LEFTOVERS}),
    ("def f(a):\n    b = g(a); g(b)\n", {"code_comment", "debug_value", "line_twice"}),
    ("def f(a, b):\n    if a or b:\n        g(a)", {"condition_off", "condition_on", "line_twice"}),
    ("def f(a):\n    b = None\n    return None", {"debug_value"}),
])  # fmt: skip
def test_leftovers_leave_alone_what_they_would_spoil(text: str, operators: set[str]) -> None:
    assert not operators & {s.operator for s in sites(text, wide=True)}


@pytest.mark.parametrize(("operator", "before", "after"), [row for row in WIDE if row[0] in LEFTOVERS])
def test_removals_undo_what_only_has_to_go(operator: str, before: str, after: str) -> None:
    head = "def f(self, a, b):\n    "
    found = set(removals(head + after, set(range(2, after.count("\n") + 3))))
    assert (head + before in found) == (operator not in ("condition_off", "condition_on", "first_only"))
    assert head + after not in found


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
    assert shown | {row[0] for row in WIDE} | {"await_drop"} == set(operator_names(wide=True))
    assert len(operator_names(wide=True)) >= 50
    assert set(operator_names(wide=True)) - shown >= LEFTOVERS


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


@pytest.mark.parametrize("module", [textwrap, heapq, shlex])
def test_real_modules_wide_sites_parse_and_differ(module: object) -> None:
    text = Path(module.__file__).read_text()  # type: ignore[attr-defined]
    plain, found = set(sites(text)), sites(text, wide=True)
    assert plain < set(found)
    seen = ast.dump(ast.parse(text))
    wide = [site for site in found if site not in plain]
    assert len(wide) > 100
    for site in wide[::7]:
        assert ast.dump(ast.parse(apply(text, site))) != seen, site


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
