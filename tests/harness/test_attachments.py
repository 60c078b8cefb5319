"""What a request names is attached when it is certain what is meant, and only then."""

from __future__ import annotations

from vivace.core.types import Task
from vivace.harness.attachments import FULL, TERSE, Attachment, Room, attachments
from vivace.harness.prompts import opening
from vivace.harness.tools.registry import get_profile

FILES = {
    "pkg/shapes.py": "import math\n\n\n@cached\ndef area(r):\n    return math.pi * r\n\n\nclass Box:\n"
                     "    def side(self):\n        return 1\n\n\nclass Ring:\n    def side(self):\n        return 2\n",
    "pkg/other.py": "def area(x):\n    return x\n\n\ndef lonely():\n    return 'grün'\n",
    "pkg/broken.py": "def lost(:\n",
    "README.md": "# def lonely\n",
    "data.bin": "",
}


def find(request: str, room: Room = FULL) -> list[tuple[str, str, int]]:
    read = {**FILES, "data.bin": None}
    return [(one.name, one.path, one.line) for one in attachments(request, list(FILES), read.get, room)]


def test_a_name_goes_with_the_file_named_after_it() -> None:
    assert find("`area` in pkg/shapes.py is wrong") == [("area", "pkg/shapes.py", 4)]
    assert find("`area` in ./pkg/other.py is wrong, not pkg/shapes.py") == [("area", "pkg/other.py", 1)]
    assert find("see pkg/shapes.py: `area()` is off") == [("area", "pkg/shapes.py", 4)]


def test_without_a_file_the_name_must_be_unique_in_all() -> None:
    assert find("`lonely` is broken") == [("lonely", "pkg/other.py", 5)]
    assert find("`area` is broken") == []
    assert find("`lost` and `nowhere` are broken") == []


def test_several_definitions_in_the_file_meant_are_none() -> None:
    assert find("`side` in pkg/shapes.py") == []
    assert find("`Box.side` in pkg/shapes.py") == [("Box.side", "pkg/shapes.py", 10)]
    assert find("`Ring` in pkg/shapes.py") == [("Ring", "pkg/shapes.py", 14)]


def test_each_is_attached_once_and_only_while_there_is_room() -> None:
    both = "`area` in pkg/shapes.py, `lonely` in pkg/other.py, again `area` in pkg/shapes.py"
    assert [name for name, _, _ in find(both)] == ["area", "lonely"]
    assert [name for name, _, _ in find(both, Room(40, 4))] == ["area"]
    assert [name for name, _, _ in find(both, Room(2, 80))] == ["lonely"]


def test_the_text_is_that_of_the_file_with_its_decorators() -> None:
    (one,) = attachments("`area` in pkg/shapes.py", list(FILES), FILES.get, TERSE)
    assert one == Attachment("area", "pkg/shapes.py", 4, "@cached\ndef area(r):\n    return math.pi * r")


def test_both_profiles_show_it_after_the_request() -> None:
    task = Task(id="", env="", repo="", split="train", licence="", problem_statement="Fix `f` in a.py.", bug_patch="",
                gold_patch="", FAIL_TO_PASS=[], PASS_TO_PASS=[])  # fmt: skip
    one = Attachment("f", "a.py", 3, "def f():\n    return 1")
    nano = opening(task, get_profile("nano"), True, [one])[1].content
    assert nano == "Fix `f` in a.py.\na.py:3\ndef f():\n    return 1"
    full = opening(task, get_profile("copilot"), False, [one])[1].content
    assert full.startswith("Fix `f` in a.py.\n\n<attachments>\n")
    assert 'filePath="/workspace/a.py" startLine="3">\ndef f():\n    return 1\n</attachment>' in full
