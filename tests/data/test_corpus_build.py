"""A whole small corpus, from wheels to shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from wheels_by_hand import make_wheel, module, pin_of

from vivace.core.errors import BadInput
from vivace.core.files import read_jsonl
from vivace.data.config import CorpusConfig
from vivace.data.corpus import CorpusReport, build_corpus, read_documents
from vivace.data.pin import manifest_text
from vivace.data.shards import pieces
from vivace.text.tokenizer import Tokenizer

FRUIT = ["apple", "banana", "cherry", "damson", "elderberry", "fig", "grape"]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CorpusConfig:
    """Three packages: one to train on (with a copy of held-out code in it), one in-domain, one held out."""
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "wheels"
    folder.mkdir(parents=True)
    files: dict[str, str | bytes] = {f"orchard/{name}.py": module(name, 5 + i) for i, name in enumerate(FRUIT)}
    files |= {
        "orchard/copy.py": module("quince", 3),
        "orchard/_vendor/x.py": module("vendored"),
        "orchard/again.py": "# Copyright someone\n" + module("apple", 5),
        "orchard/latin.py": b"name = '\xe9'\n",
        "orchard/mail.py": module("mango") + "\nAUTHOR = 'jane@corp.com'\nTOKEN = '<|bos|>'\n",
        "orchard/tests/test_all.py": module("testing"),
    }
    wheels = [
        pin_of(make_wheel(folder, "orchard", files)),
        pin_of(make_wheel(folder, "meadow", {"meadow/daisy.py": module("daisy", 9)}), role="valid"),
        pin_of(make_wheel(folder, "secret", {"secret/quince.py": module("quince", 8)}), role="eval"),
    ]
    manifest = tmp_path / "corpus.toml"
    manifest.write_text(manifest_text(wheels))
    return CorpusConfig(manifest=manifest, vocab_size=400, fim_rate=0.3, near_dup_threshold=0.9)


def ids_of(shard: Path) -> np.ndarray:
    return np.fromfile(shard, dtype="<u2")


def test_corpus_end_to_end(config: CorpusConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = build_corpus(config, out)
    paths = {doc.path for doc in read_documents(out)}
    assert {f"orchard/{name}.py" for name in FRUIT[1:]} <= paths
    assert len(paths & {"orchard/again.py", "orchard/apple.py"}) == 1  # one of two copies
    assert not paths & {"orchard/copy.py", "orchard/_vendor/x.py", "orchard/latin.py"}
    assert report.dropped_files["held-out function"] == 1
    assert report.dropped_files["exact duplicate"] == 1
    assert report.scrubbed == {"email": 1}
    assert report == CorpusReport.model_validate_json((out / "meta.json").read_text())
    assert report.val.packages == report.indomain.packages == report.train.packages == 1


def test_held_out_code_is_in_val_only(config: CorpusConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_corpus(config, out)
    tokenizer = Tokenizer.load(out)
    trained = tokenizer.decode(ids_of(out / "train.bin").tolist())
    assert "quince" in tokenizer.decode(ids_of(out / "val.bin").tolist())
    assert "quince" not in trained
    assert "daisy" not in trained
    assert "quince" not in (out / "documents.jsonl").read_text()


def test_validation_rows_give_bytes_and_places(config: CorpusConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = build_corpus(config, out)
    tokenizer = Tokenizer.load(out)
    shard = ids_of(out / "val.bin")
    rows = list(read_jsonl(out / "val.jsonl"))
    assert sum(row["tokens"] for row in rows) == len(shard) == report.val.tokens
    for row in rows:
        ids = shard[row["offset"] : row["offset"] + row["tokens"]].tolist()
        assert ids[0] == tokenizer.special["<|bos|>"]
        assert tokenizer.decode(ids) == row["text"]
        assert row["bytes"] == len(row["text"].encode())


def test_markers_are_ids_and_text_cannot_spell_them(config: CorpusConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_corpus(config, out)
    s = Tokenizer.load(out).special
    ids = ids_of(out / "train.bin").tolist()
    fills = ids.count(s["<|fim_prefix|>"])
    assert fills == ids.count(s["<|fim_suffix|>"]) == ids.count(s["<|fim_middle|>"]) == ids.count(s["<|end|>"]) > 0
    plain = build_corpus(config.model_copy(update={"fim_rate": 0.0}), tmp_path / "plain")
    shard = ids_of(tmp_path / "plain" / "train.bin").tolist()
    assert shard.count(s["<|bos|>"]) == plain.train.documents  # the "<|bos|>" inside a string literal is not one


def test_same_input_same_bytes_and_the_seed_matters(config: CorpusConfig, tmp_path: Path) -> None:
    first, second = (build_corpus(config, tmp_path / name) for name in "ab")
    other = build_corpus(config.model_copy(update={"seed": 1}), tmp_path / "c")
    assert first == second
    assert first.outputs["train.bin"] != other.outputs["train.bin"]


def test_cap_limits_bytes_and_tests(config: CorpusConfig, tmp_path: Path) -> None:
    small = config.model_copy(update={"max_package_bytes": 8000, "max_test_share": 0.0})
    report = build_corpus(small, tmp_path / "out")
    documents = read_documents(tmp_path / "out")
    assert 0 < report.train.bytes <= 8000
    assert not any(doc.is_test for doc in documents)
    assert report.dropped_files["over the package cap"] > 0


def test_nothing_left_is_an_error_and_leaves_no_meta(config: CorpusConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_corpus(config, out)
    with pytest.raises(BadInput, match="no document survived"):
        build_corpus(config.model_copy(update={"max_package_bytes": 10}), out)
    assert not (out / "meta.json").exists()


def test_read_documents_without_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no corpus at"):
        read_documents(tmp_path)


def test_pieces_join_to_the_text() -> None:
    text = module("kiwi")
    parts = list(pieces(text, 300))
    assert "".join(parts) == text
    assert len(parts) > 2
    assert json.dumps(parts[0]).endswith('\\n"')
