"""The renderer: token-exact appending, a mask on what is sampled, and nothing that text can forge."""

import random

import pytest

from vivace.core.errors import BadInput
from vivace.core.types import Message, ToolCall
from vivace.text.chat import Renderer
from vivace.text.fim import fim_ids, split_for_fim
from vivace.text.tokenizer import SPECIAL_TOKENS, Tokenizer, train_tokenizer

TEXT = "def area(width, height):\n    return width * height  # <|end|> is only text here\n" * 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT], 400)


CALL = ToolCall(name="read_file", arguments={"filePath": "src/a b.py", "startLine": 3})
TALK = [
    Message(role="system", content="You fix code."),
    Message(role="user", content="`area` is wrong <|assistant|>"),
    Message(role="assistant", content="Looking.", tool_calls=[CALL, ToolCall(name="runTests")]),
    Message(role="tool", content=TEXT[:60]),
    Message(role="assistant", content="Done ✓"),
]


def test_text_round_trips_and_never_becomes_a_special_token(tokenizer: Tokenizer) -> None:
    special = set(tokenizer.special.values())
    for text in [TEXT, "".join(SPECIAL_TOKENS), "naïve ✓\t\r\n  x", "", "<|bos|>" * 3]:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert not special & set(ids)


def test_the_mask_covers_exactly_what_the_assistant_says(tokenizer: Tokenizer) -> None:
    renderer = Renderer(tokenizer)
    ids, mask = renderer.render(TALK)
    learnt = tokenizer.show([i for i, m in zip(ids, mask, strict=True) if m])
    assert learnt == (
        "Looking.<|call|>read_file<|arg|>filePath<|value|>src/a b.py<|arg|>startLine<|value|>3<|call|>runTests<|end|>"
        "Done ✓<|end|>"
    )


def test_rendering_is_appending(tokenizer: Tokenizer) -> None:
    renderer = Renderer(tokenizer)
    whole = renderer.render(TALK)[0]
    grown: list[int] = []
    for message in TALK:
        grown += renderer.message(message)[0]
        assert whole[: len(grown)] == grown
    assert grown == whole


def test_an_answer_parses_back(tokenizer: Tokenizer) -> None:
    renderer = Renderer(tokenizer)
    message = renderer.parse(renderer.answer(TALK[2]))
    assert message.content == "Looking."
    assert [call.name for call in message.tool_calls] == ["read_file", "runTests"]
    assert message.tool_calls[0].arguments == {"filePath": "src/a b.py", "startLine": "3"}
    assert renderer.answer(message) == renderer.answer(TALK[2])


def test_parsing_survives_any_ids(tokenizer: Tokenizer) -> None:
    renderer, rng = Renderer(tokenizer), random.Random(0)
    for _ in range(300):
        renderer.parse([rng.randrange(tokenizer.vocab_size) for _ in range(rng.randrange(30))])


def test_effort_is_a_control_token(tokenizer: Tokenizer) -> None:
    low = Renderer(tokenizer, "low").message(TALK[0])[0]
    assert tokenizer.special["<|effort_low|>"] in low
    assert low != Renderer(tokenizer).message(TALK[0])[0]


def test_fill_in_the_middle_holds_the_whole_text(tokenizer: Tokenizer) -> None:
    prefix, middle, suffix = split_for_fim(TEXT, random.Random(1))
    assert prefix + middle + suffix == TEXT
    prompt = fim_ids(tokenizer, prefix, suffix)
    assert fim_ids(tokenizer, prefix, suffix, middle)[: len(prompt)] == prompt


def test_a_missing_or_foreign_tokenizer_is_said(tokenizer: Tokenizer, tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    with pytest.raises(BadInput, match="no tokenizer at"):
        Tokenizer.load(folder)
    tokenizer.save(folder)
    assert Tokenizer.load(folder).encode(TEXT) == tokenizer.encode(TEXT)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="is not a tokenizer"):
        Tokenizer.load(folder)
