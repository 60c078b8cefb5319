"""Whole episodes: their form is the harness's own, and what they look for, read and edit is really in the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import vivace
from vivace.core.types import Message
from vivace.data.documents import Document
from vivace.data.episodes import whole_episode
from vivace.data.repair import RepairConfig, repair_documents
from vivace.harness.edit.minimal import minimal_edits
from vivace.harness.tools.read_file import TERSE_LINES
from vivace.tasks.statements import suspects
from vivace.text.chat import Renderer
from vivace.text.tokenizer import train_tokenizer

SOURCE = Path(vivace.__file__).parent / "core" / "files.py"
CLEAN = SOURCE.read_text()


@pytest.fixture
def episode() -> list[Message]:
    broken = CLEAN.replace("length: int = 16", "length: int = 17")
    edits = minimal_edits(broken, CLEAN)
    line = next(n for n, text in enumerate(CLEAN.split("\n"), 1) if text.startswith("def digest("))
    (found,) = whole_episode(broken, "core/files.py", "digest", (line, line + 4), edits, random.Random(1))
    return found


def test_it_looks_for_what_was_named_and_reads_where_it_was_found(episode: list[Message]) -> None:
    place = suspects(episode[1].content)[0]
    search, read = episode[2].tool_calls[0], episode[4].tool_calls[0]
    assert search.arguments == {"query": f"def {place.name}(", "includePattern": place.path}
    assert episode[3].content.startswith(f"{place.path}:{read.arguments['startLine']}: def digest(")
    lines = episode[5].content.split("\n")
    assert lines[0].startswith("def digest(")
    assert len(lines) <= TERSE_LINES


def test_its_edit_mends_the_file_and_is_then_tested(episode: list[Message]) -> None:
    edit, tested = episode[6].tool_calls
    old, new = edit.arguments["oldString"], edit.arguments["newString"]
    assert (old.count("17"), new.count("16")) == (1, 1)
    assert old in episode[5].content
    assert tested.name == "runTests"
    assert episode[-1].tool_calls[0].name == "task_complete"


def test_a_name_found_twice_makes_no_episode() -> None:
    twice = "def f():\n    return 1\n\n\nclass A:\n    def f(self):\n        return 2\n"
    assert not list(whole_episode(twice, "a.py", "f", (1, 2), [("return 1", "return 3")], random.Random(0)))


def test_documents_open_with_the_system_message_once() -> None:
    renderer = Renderer(train_tokenizer([CLEAN], 1200))
    document = Document("core/files.py", "core", "1", "MIT", CLEAN)
    made = list(repair_documents([document], renderer, RepairConfig(whole=1.0, context_weight=0.1)))
    assert made
    for ids, weights in made:
        assert len(ids) == len(weights)
        assert ids[0] == renderer.bos
        assert ids.count(renderer.bos) == 1
        assert set(weights) == {0.1, 1.0}
