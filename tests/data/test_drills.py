"""Drills: every copied span stands in the original, every mended line follows the one that is broken."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import vivace
from vivace.data.copying import LENGTH, copy_documents
from vivace.data.documents import Document
from vivace.data.proofreading import proof_documents
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


def test_proofreading_drills_mend_a_line_right_after_it() -> None:
    text = (SOURCE / "evals" / "stats.py").read_text()
    renderer = Renderer(train_tokenizer([text], 800))
    document = Document("evals/stats.py", "evals", "1", "MIT", text)
    config = RepairConfig(seed=2, context_weight=0.25)
    made = list(proof_documents([document], renderer, config))
    assert made == list(proof_documents([document], renderer, config))
    clean = [line.strip() for line in text.split("\n") if line.strip()]
    mark = "<|arg|>newString<|value|>"
    fixes = shown_lines = 0
    for ids, weights in made:
        assert len(ids) == len(weights)
        assert set(weights) <= {0.0, 0.25, 1.0}
        assert (ids[0], ids[-1]) == (renderer.bos, renderer.end)
        shown = renderer.tokenizer.show(ids).removeprefix("<|bos|>").removesuffix("<|end|>")
        restored = []
        for line in shown.split("\n"):
            broken, marked, mended = line.partition(mark)
            if broken.strip():
                restored.append(mended if marked else broken.strip())
                assert not marked or mended != broken.strip()
                fixes += bool(marked)
                shown_lines += 1
        assert set(restored) <= set(clean)
        starts = [n for n, i in enumerate(ids) if i == ids[shown_at(renderer, ids)]]
        assert all(weights[n] == 1.0 for n in starts)
    assert 0.05 < fixes / shown_lines < 0.3


def shown_at(renderer: Renderer, ids: list[int]) -> int:
    """Where the first correction begins: the token that says that the line before it is wrong."""
    return ids.index(renderer.argument("newString", "")[0])
