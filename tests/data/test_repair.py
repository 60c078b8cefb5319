"""Repair documents: what they show is what the real tools show, and replaying their edits mends the file."""

from __future__ import annotations

import ast
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from wheels_by_hand import make_wheel, module, pin_of

import vivace
from vivace.core.types import Message, Task
from vivace.data.config import CorpusConfig
from vivace.data.corpus import build_corpus, read_documents
from vivace.data.documents import Document
from vivace.data.functions import span, walk_functions
from vivace.data.pin import manifest_text
from vivace.data.repair import RepairConfig, choose, repair_documents
from vivace.harness.attachments import TERSE, attachments
from vivace.harness.environment import Environment
from vivace.harness.prompts import opening
from vivace.harness.tools.base import Context
from vivace.harness.tools.registry import get_profile
from vivace.sandbox import TestReport, Workspace, open_sandbox
from vivace.tasks.mutate import sites
from vivace.tasks.operators import operator_names
from vivace.tasks.reading import MOST_BEFORE
from vivace.text.chat import Renderer
from vivace.text.tokenizer import Tokenizer, train_tokenizer

SOURCE = Path(vivace.__file__).parent
FILES = ("core/files.py", "text/chat.py", "tasks/mutate.py", "harness/edit/minimal.py", "evals/stats.py",
         "data/dedup.py")
AWKWARD = "def first(value):\n    if value > 1:\n        return 'grün <|end|>'\n    return value - 1\n\n\n" \
          "def last(value):\n    if value < 3:\n        value = value + 1\n    return not value"
CONFIG = RepairConfig(seed=3, per_function=2, context_weight=0.25)
Pair = tuple[list[int], list[float]]
HEAD = re.compile(r"[\w./]+\.py:\d+")
TASK = Task(id="", env="", repo="", split="train", licence="", problem_statement="", bug_patch="", gold_patch="",
            FAIL_TO_PASS=[], PASS_TO_PASS=[])  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> dict[str, Document]:
    texts = {f"vivace/{name}": (SOURCE / name).read_text() for name in FILES}
    texts |= {"awkward/end.py": AWKWARD, "awkward/end_of_line.py": AWKWARD + "\n", "awkward/broken.py": "def f(:\n"}
    return {path: Document(path, path.split("/")[0], "1", "MIT", text) for path, text in texts.items()}


@pytest.fixture(scope="module")
def renderer(corpus: dict[str, Document]) -> Renderer:
    return Renderer(train_tokenizer([document.text for document in corpus.values()], 1500))


@pytest.fixture(scope="module")
def made(corpus: dict[str, Document], renderer: Renderer) -> list[Pair]:
    return list(repair_documents(corpus.values(), renderer, CONFIG))


def read(ids: list[int], renderer: Renderer) -> list[Message]:
    """Ids back to messages, by the special tokens alone."""
    roles = {renderer.tokenizer.special[f"<|{role}|>"]: role for role in ("system", "user", "assistant", "tool")}
    messages, start = [], 1  # after the one that opens every document
    assert ids.index(renderer.bos) == 0
    assert ids.count(renderer.bos) == 1
    while start < len(ids):
        end = ids.index(renderer.end, start)
        body, role = ids[start + 1 : end], roles[ids[start]]
        messages.append(renderer.parse(body) if role == "assistant"
                        else Message.model_validate({"role": role, "content": renderer.tokenizer.decode(body)}))
        start = end + 1
    return messages


def conversation(ids: list[int], renderer: Renderer) -> list[Message]:
    """Without the system message, which not every document has."""
    return [message for message in read(ids, renderer) if message.role != "system"]


def document_of(messages: list[Message], corpus: dict[str, Document]) -> Document:
    path = messages[1].tool_calls[0].arguments["filePath"]
    return corpus.get(path) or corpus[path.removeprefix("src/")]


def broken_text(messages: list[Message], document: Document) -> str:
    """The whole file as it was when it was attached: faults never add or remove lines."""
    lines = document.text.split("\n")
    shown = messages[0].content.split("\n")
    heads = [(n, int(line.rpartition(":")[2])) for n, line in enumerate(shown) if HEAD.fullmatch(line)]
    assert heads
    for (at, first), (until, _) in zip(heads, [*heads[1:], (len(shown), 0)]):
        lines[first - 1 : first - 1 + until - at - 1] = shown[at + 1 : until]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """The real tools on a real workspace, in the form that the nano profile gives their results."""
    def no_tests(ids: list[str] | None) -> TestReport:
        raise AssertionError("no tests are run here")

    with Workspace(tmp_path_factory.mktemp("base"), open_sandbox()) as workspace:
        yield Context(Environment(workspace, no_tests), terse=True)


def test_the_edits_lead_from_the_broken_file_to_the_original(
    made: list[Pair], corpus: dict[str, Document], renderer: Renderer, context: Context
) -> None:
    nano = get_profile("nano")
    faults: Counter[int] = Counter()
    recovered = several = 0
    for ids, _ in made:
        messages = conversation(ids, renderer)
        document = document_of(messages, corpus)
        broken = broken_text(messages, document)
        assert broken != document.text
        ast.parse(broken)
        path = str(messages[1].tool_calls[0].arguments["filePath"])
        context.write(path, broken)
        for turn, message in enumerate(messages):
            if message.role != "assistant" or message.tool_calls[0].name == "task_complete":
                continue
            *edits, tested = message.tool_calls
            assert tested.name == "runTests"
            for number, edit in enumerate(edits, 1):
                result, outcome = nano.call(edit, context)
                assert (result.text, outcome.kind) == (messages[turn + number].content, "ok")  # exact, and found once
        assert context.read(path) == document.text
        assert messages[-1].tool_calls[0].name == "task_complete"
        recovered += sum(message.role == "assistant" for message in messages) > 2
        several += len(re.findall("`(.*?)`", messages[0].content.split(f"\n{path}:")[0])) > 1
        faults[sum(a != b for a, b in zip(broken.split("\n"), document.text.split("\n"), strict=True))] += 1
    assert len(made) > 30
    assert {1, 2, 3, 4} <= set(faults)
    assert faults[1] > faults[4]
    assert 0.1 < recovered / len(made) < 0.5
    assert several > 5


def test_what_is_attached_is_what_the_harness_would_attach(
    made: list[Pair], corpus: dict[str, Document], renderer: Renderer
) -> None:
    for ids, _ in made:
        messages = conversation(ids, renderer)
        path = str(messages[1].tool_calls[0].arguments["filePath"])
        broken = broken_text(messages, document_of(messages, corpus))
        statement = messages[0].content.split(f"\n{path}:")[0]
        found = attachments(statement, [path], {path: broken}.get, TERSE)
        task = TASK.model_copy(update={"problem_statement": statement})
        assert opening(task, get_profile("nano"), True, found)[1] == messages[0]


def test_the_faults_stand_in_functions_that_are_named(
    made: list[Pair], corpus: dict[str, Document], renderer: Renderer
) -> None:
    for ids, _ in made:
        messages = conversation(ids, renderer)
        document = document_of(messages, corpus)
        path = str(messages[1].tool_calls[0].arguments["filePath"])
        names = re.findall("`(.*?)`", messages[0].content.split(f"\n{path}:")[0])
        before, after = broken_text(messages, document).split("\n"), document.text.split("\n")
        named = [span(node) for _, node in walk_functions(ast.parse(document.text)) if node.name in names]
        changed = {number for number, (a, b) in enumerate(zip(before, after, strict=True), 1) if a != b}
        assert changed <= {line for first, last in named for line in range(first, last + 1)}


def test_reading_episodes_stop_at_the_line_they_change(
    corpus: dict[str, Document], renderer: Renderer, context: Context
) -> None:
    """Each edit is an answer of its own; what it reads back stands in the file as it is then, up to the edit."""
    nano = get_profile("nano")
    reading = list(repair_documents(corpus.values(), renderer, CONFIG.model_copy(update={"reads": 1.0})))
    before = Counter[int]()
    for ids, weights in reading:
        messages = conversation(ids, renderer)
        document = document_of(messages, corpus)
        path = str(messages[1].tool_calls[0].arguments["filePath"])
        context.write(path, broken_text(messages, document))
        for turn, message in enumerate(messages):
            if message.role != "assistant" or message.tool_calls[0].name == "task_complete":
                continue
            edit, *tested = message.tool_calls
            assert [call.name for call in tested] in ([], ["runTests"])
            old = str(edit.arguments["oldString"])
            assert message.content.startswith("\n")
            assert message.content in "\n" + context.read(path)
            assert message.content.endswith(old) or message.content.split("\n")[-1].startswith(old.split("\n")[-1])
            before[message.content.count("\n") - old.count("\n") - 1] += 1
            result, _ = nano.call(edit, context)
            assert result.text == messages[turn + 1].content
        assert context.read(path) == document.text
        texts = [message for message in messages if message.role == "assistant"]
        tries = [n for n, message in enumerate(texts) if message.tool_calls[-1].name == "runTests"]
        good = [n > tries[-2] if len(tries) > 1 else True for n in range(len(texts))]  # what follows the last failure
        learnt = [w for i, w in zip(ids, weights, strict=True) if w in (0.0, 1.0)]
        sampled = [bit for message, learn in zip(texts, good, strict=True)
                   for bit in [1.0 if learn else 0.0] * sum(renderer.message(message)[1])]  # fmt: skip
        assert [w for w in learnt if w] == [w for w in sampled if w]
    assert set(before) == set(range(MOST_BEFORE + 1))
    assert len(reading) > 30


def test_weights_are_one_on_the_good_turns_of_the_assistant(made: list[Pair], renderer: Renderer) -> None:
    systems = 0
    for ids, weights in made:
        messages = read(ids, renderer)
        systems += messages[0].role == "system"
        turns = [n for n, message in enumerate(messages) if message.role == "assistant"]
        wrong = turns[:-2]  # the last two mend and finish
        expected = [] if messages[0].role == "system" else [0.0]
        for number, message in enumerate(messages):
            around = {"system": 0.0, "assistant": 0.0}.get(message.role, 0.25)
            expected += [(0.0 if number in wrong else 1.0) if bit else around for bit in renderer.message(message)[1]]
        assert weights == expected
        assert len(ids) == len(weights)
    assert 0.3 < systems / len(made) < 0.7


def test_the_same_seed_gives_the_same_documents(
    made: list[Pair], corpus: dict[str, Document], renderer: Renderer
) -> None:
    assert list(repair_documents(corpus.values(), renderer, CONFIG)) == made
    other = CONFIG.model_copy(update={"seed": 4})
    assert list(repair_documents(corpus.values(), renderer, other)) != made
    # A document's faults do not depend on what stands before it.
    path = "vivace/text/chat.py"
    alone = list(repair_documents([corpus[path]], renderer, CONFIG))
    assert alone
    assert [one for one in made if one in alone] == alone


def test_nothing_held_out_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wheels to documents: packages of role `eval` and `valid`, and tests, are in none of them."""
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "wheels"
    folder.mkdir(parents=True)
    pins = [
        pin_of(make_wheel(folder, "orchard", {"orchard/plum.py": module("plum", 5), "orchard/fig.py": module("fig", 6),
                                              "orchard/quince.py": module("quince", 8)})),
        pin_of(make_wheel(folder, "meadow", {"meadow/daisy.py": module("daisy", 9)}), role="valid"),
        pin_of(make_wheel(folder, "secret", {"secret/quince.py": module("quince", 8)}), role="eval"),
    ]  # fmt: skip
    (tmp_path / "corpus.toml").write_text(manifest_text(pins))
    build_corpus(CorpusConfig(manifest=tmp_path / "corpus.toml", vocab_size=400), tmp_path / "out")
    renderer = Renderer(Tokenizer.load(tmp_path / "out"))
    made = list(repair_documents(read_documents(tmp_path / "out"), renderer, RepairConfig()))
    text = "".join(renderer.tokenizer.decode(ids) for ids, _ in made)
    assert "orchard/plum.py" in text
    assert not [name for name in ("secret", "quince", "meadow", "daisy") if name in text]


def test_functions_out_of_range_and_files_that_do_not_parse_are_left_out(
    corpus: dict[str, Document], renderer: Renderer
) -> None:
    config = RepairConfig(min_lines=6, max_lines=9, suspects=0)
    made = list(repair_documents(corpus.values(), renderer, config))
    assert made
    for ids, _ in made:
        shown = conversation(ids, renderer)[0].content.split("\n")
        (at,) = [n for n, line in enumerate(shown) if HEAD.fullmatch(line)]
        assert 6 <= len(shown) - at - 1 <= 9
    assert list(repair_documents([corpus["awkward/broken.py"]], renderer, CONFIG)) == []


def test_operators_are_drawn_evenly(corpus: dict[str, Document]) -> None:
    """An operator with many sites does not crowd out one with few."""
    own = sites(corpus["vivace/evals/stats.py"].text)
    counts = Counter(site.operator for site in own)
    rng = random.Random(0)
    drawn = Counter(choose(own, RepairConfig(more_faults=0), rng)[0].operator for _ in range(600))
    assert set(drawn) == set(counts) <= set(operator_names())
    assert max(drawn.values()) < 3 * min(drawn.values())
    assert max(counts.values()) > 4 * min(counts.values())
    several = choose(own, RepairConfig(more_faults=0.99), rng)
    assert len({site.line for site in several}) == len(several) == 4
