"""Settings files as people have them, edited in one place; whatever else stands there stays, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivace.connect.jsonc import load, put, take
from vivace.core.errors import BadInput

ZED = """// Zed settings
{
  "theme": "One Dark", // dark, as it should be
  /* agents
     of others */
  "agent_servers": {
    "Other": { "type": "custom", "command": "/usr/bin/other", "args": ["--x"] }, // keep
  },
  "vim_mode": true,
}
"""
ENTRY = {"type": "custom", "command": "vivace", "args": ["acp"]}


def test_an_entry_among_comments_and_trailing_commas() -> None:
    changed = put(ZED, ["agent_servers", "Vivace"], ENTRY)
    assert load(changed)["agent_servers"] == {**load(ZED)["agent_servers"], "Vivace": ENTRY}
    lines = changed.splitlines()
    assert [line for line in lines if line in ZED.splitlines()] == ZED.splitlines()  # nothing gone, order kept
    assert '    "Vivace": {' in lines
    assert put(changed, ["agent_servers", "Vivace"], ENTRY) == changed
    assert take(changed, ["agent_servers", "Vivace"]) == ZED


@pytest.mark.parametrize("text", [
    "", "\n", "// nothing yet\n", "{}", "{ }", "{\n}\n", '{"a": 1}', '{\n\t"a": 1\n}', '{\n  "a": 1 // one\n}\n',
    '{\r\n    "a": [1, 2,],\r\n}\r\n', '\ufeff{"a": {}}', '{"a": 1, /* x */ }', '{ // c\n}',
    '{"a": "}, // no comment"}',
    '{"k": {"b": 1}}', '{"k": {}}', '{"k": {"n": 1, // c\n}}', '{"k":{"n":{"x":1}},"z":2}',
])  # fmt: skip
def test_put_and_take(text: str) -> None:
    before = load(text) or {}
    changed = put(text, ["k", "n"], ENTRY)
    assert load(changed) == {**before, "k": {**before.get("k", {}), "n": ENTRY}}
    gone = load(take(changed, ["k", "n"]))
    assert gone == {**before, "k": {key: value for key, value in before.get("k", {}).items() if key != "n"}}
    if "\r\n" in text:
        assert "\n" not in changed.replace("\r\n", "")


def test_lists_by_what_tells_an_item() -> None:
    text = '[\n  // mine\n  {"name": "a", "apiKey": "${input:x}"},\n]\n'

    def ours(item: Any) -> bool:
        return item["name"] == "V"

    first = put(text, [ours], {"name": "V", "n": 1})
    second = put(first, [ours], {"name": "V", "n": 2})
    assert load(second) == [{"name": "a", "apiKey": "${input:x}"}, {"name": "V", "n": 2}]
    assert "// mine" in second
    assert take(second, [ours]) == text


@pytest.mark.parametrize(("text", "line"), [('{"a": 1', 1), ('{\n"a" 1}', 2), ("{}\n}", 2), ("{a: 1}", 1),
                                            ("[" * 500, 1), ('{"a": nope}', 1), ("/* open", 1)])  # fmt: skip
def test_what_cannot_be_read_is_not_touched(text: str, line: int) -> None:
    with pytest.raises(BadInput, match=f"line {line}"):
        put(text, ["a"], 1)


def test_something_else_in_the_way() -> None:
    with pytest.raises(BadInput, match="an object was expected on line 2"):
        put('{\n"k": [1]}', ["k", "n"], 1)


_NAMES = st.sampled_from(["a", "b", "k", "n", "//", "/* */", "},"])
_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | _NAMES,
                       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
                       max_leaves=8)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(_NAMES, _VALUES, max_size=4), _NAMES, _VALUES, st.sampled_from([None, 2, "\t"]))
def test_any_object(before: dict[str, Any], key: str, value: Any, indent: int | str | None) -> None:
    text = json.dumps(before, indent=indent)
    changed = put(text, [key], value)
    assert json.loads(changed) == {**before, key: value}
    assert json.loads(take(changed, [key])) == {name: one for name, one in before.items() if name != key}
