"""Copies are found whatever was renamed or re-indented; different code is not."""

from __future__ import annotations

import random
import textwrap

import numpy as np
from wheels_by_hand import module

from vivace.data.dedup import jaccard, near_duplicates, shingles
from vivace.data.documents import Document
from vivace.data.filters import parse
from vivace.data.functions import FunctionKeys, function_keys
from vivace.data.heldout import HeldOut, overlap


def keys_of(text: str) -> list[FunctionKeys]:
    tree = parse(text)
    assert tree is not None
    return function_keys(tree)


def document(text: str) -> Document:
    return Document("pkg/mod.py", "pkg", "1", "MIT", text)


def test_near_duplicates_agree_with_true_jaccard() -> None:
    rng = random.Random(1)
    words = [f"w{i}" for i in range(300)]
    base = [rng.choice(words) for _ in range(800)]
    texts = [" ".join(base)]
    for changes in (3, 10, 20, 60, 400):
        copy = list(base)
        for place in rng.sample(range(len(copy)), changes):
            copy[place] = "changed"
        texts.append(" ".join(copy))
    true = [jaccard(shingles(texts[0]), shingles(text)) for text in texts]
    dropped = near_duplicates(texts, 0.7)
    assert {i for i, similarity in enumerate(true) if i and similarity > 0.75} <= set(dropped)
    assert all(true[i] >= 0.7 for i, first in dropped.items() if first == 0)
    assert 5 not in dropped


def test_shingles_of_short_and_empty_texts() -> None:
    assert len(shingles("")) == 1
    assert len(shingles("one two")) == 1
    assert jaccard(shingles("a b c d e f"), shingles("a b c d e f")) == 1.0
    assert shingles("a b c d e f").dtype == np.uint32


def test_function_keys_ignore_layout_and_docstring_and_shape_ignores_names() -> None:
    source = module("pear", 1)
    restyled = source.replace("    total = 0", '    "Measure it."\n    # a comment\n    total = (0)')
    renamed = source.replace("pear", "plum").replace("total", "amount").replace("// 2", "// 9")
    (first,), (second,), (third,) = keys_of(source), keys_of(restyled), keys_of(renamed)
    assert first.named == second.named != third.named
    assert first.shape == third.shape != ""
    changed = source.replace("total += math", "total -= math", 1)
    assert keys_of(changed)[0].shape != first.shape


def test_small_functions_have_no_keys() -> None:
    (key,) = keys_of("def f(self):\n    return self.x\n")
    assert (key.named, key.shape) == ("", "")


def test_held_out_file_and_function_are_recognised_anywhere() -> None:
    secret = module("secret", 2)
    held = HeldOut.of([document(secret)])
    assert held.reason(secret.replace("\n", "\n\n"), []) == "held-out file"
    copied = module("apple", 2) + "\n\nclass Box:\n" + textwrap.indent(secret.split("\n\n\n")[2], "    ")
    assert held.reason(copied, keys_of(copied)) == "held-out function"
    renamed = copied.replace("secret", "public")
    assert held.reason(renamed, keys_of(renamed)) == "held-out function"
    assert held.reason(module("apple", 2), keys_of(module("apple", 2))) is None


def test_overlap_is_the_share_of_grams() -> None:
    words = " ".join(f"w{i}" for i in range(200))
    assert overlap([words], [words]) == 1.0
    assert overlap([words], ["nothing alike " * 30]) == 0.0
    half = " ".join(f"w{i}" for i in range(100))
    assert 0.4 < overlap([words], [half]) < 0.5
    assert overlap([], [words]) == 0.0
