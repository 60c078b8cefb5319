"""Drills: every copied span stands in the original, every fix mends the line before it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import vivace
from vivace.data.copying import LENGTH, copy_documents
from vivace.data.documents import Document
from vivace.data.fixes import fix_documents
from vivace.data.repair import RepairConfig
from vivace.text.chat import Renderer
from vivace.text.tokenizer import SPECIAL_TOKENS, train_tokenizer

SOURCE = Path(vivace.__file__).parent
VOCABULARY = range(len(SPECIAL_TOKENS), 300)


def test_what_is_learnt_of_a_copying_drill_stands_in_its_original() -> None:
    drills = list(copy_documents(50, VOCABULARY, 1, seed=3))
    assert drills == list(copy_documents(50, VOCABULARY, 1, seed=3))
    assert drills != list(copy_documents(50, VOCABULARY, 1, seed=4))
    for ids, weights in drills:
        assert (ids[0], weights[0]) == (1, 0.0)
        assert set(ids[1:]) <= set(VOCABULARY)
        first = weights.index(1.0) - 1  # where the first span begins
        original = ids[1:first]
        assert LENGTH[0] <= len(original) <= LENGTH[1]
        pairs = set(pairwise(original))
        learnt = [(ids[n - 1], ids[n]) for n in range(1, len(ids)) if weights[n]]
        assert learnt
        assert set(learnt) <= pairs
        assert all(weight in (0.0, 1.0) for weight in weights)


def test_fixing_drills_pair_a_broken_line_with_the_one_in_the_file() -> None:
    text = (SOURCE / "evals" / "stats.py").read_text()
    renderer = Renderer(train_tokenizer([text], 800))
    document = Document("evals/stats.py", "evals", "1", "MIT", text)
    made = list(fix_documents([document], renderer, RepairConfig(seed=2), pairs=6))
    assert made == list(fix_documents([document], renderer, RepairConfig(seed=2), pairs=6))
    lines = Counter(line.strip() for line in text.split("\n"))
    fixes = 0
    for ids, weights in made:
        assert len(ids) == len(weights)
        assert (ids[0], ids[-1]) == (renderer.bos, renderer.end)
        shown = renderer.tokenizer.show(ids).removeprefix("<|bos|>").removesuffix("<|end|>")
        pairs = shown.split("<|arg|>oldString<|value|>")[1:]
        assert 0 < len(pairs) <= 6
        for pair in pairs:
            broken, clean = pair.split("<|arg|>newString<|value|>")
            assert clean in lines
            assert broken != clean
            fixes += 1
        learnt = renderer.tokenizer.decode([i for i, weight in zip(ids, weights) if weight])
        assert learnt == "".join(pair.split("<|arg|>newString<|value|>")[1] for pair in pairs)
    assert fixes > 10
