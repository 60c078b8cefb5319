"""Packing, sources and their cursors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivace.core.errors import BadInput
from vivace.train.batches import DocumentSource, Row, StreamSource, micro_batches
from vivace.train.packing import pack


def test_pack_keeps_every_document_whole_and_fits_well() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(1, 100, size=500)]
    rows = pack(lengths, 128)
    assert sorted(i for row in rows for i in row) == list(range(500))
    assert max(sum(lengths[i] for i in row) for row in rows) <= 128
    assert len(rows) <= 1.03 * sum(lengths) / 128 + 1


def test_pack_takes_the_tightest_row() -> None:
    assert pack([6, 5, 4, 3], 9) == [[0, 3], [1, 2]]
    assert pack([], 9) == []


def test_stream_covers_the_shards_once_per_epoch(shards: Path) -> None:
    source = StreamSource(shards, 32, 32, seed=0)
    per_epoch = len(source._order)
    assert per_epoch * 32 > 6000 - 2 * 2 * 32
    first = [source.next_batch()[0].ids for _ in range(per_epoch)]
    assert source.epoch == 0
    assert len({ids.tobytes() for ids in first}) == per_epoch
    tokens = np.concatenate([np.fromfile(shards / "0.bin", np.uint16), np.load(shards / "1.npy")])
    for ids in first[:5]:
        assert len(ids) == 33
        assert any((tokens[i : i + 33] == ids).all() for i in range(len(tokens) - 32))
    second = [source.next_batch()[0].ids for _ in range(3)]
    assert source.epoch == 1
    assert not np.array_equal(first[0], second[0])


def test_stream_cursor_continues_across_epochs(shards: Path) -> None:
    straight, resumed = StreamSource(shards, 32, 96, seed=4), StreamSource(shards, 32, 96, seed=4)
    for _ in range(70):
        straight.next_batch()
    resumed.load_state(straight.state())
    for a, b in zip(straight.next_batch(), resumed.next_batch(), strict=True):
        assert np.array_equal(a.ids, b.ids)
    with pytest.raises(BadInput, match="seed changed"):
        StreamSource(shards, 32, 96, seed=5).load_state(straight.state())


def test_unusable_shards(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(BadInput, match="no token shards"):
        StreamSource(tmp_path, 32, 64)
    with pytest.raises(BadInput, match="shorter seq_len"):
        StreamSource(shards, 5000, 5000)
    np.save(shards / "2.npy", np.zeros((2, 2), np.int64))
    with pytest.raises(BadInput, match=r"2\.npy must be one-dimensional uint16 or uint32, it is 2-D int64"):
        StreamSource(shards, 32, 64)
    (shards / "2.npy").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be read"):
        StreamSource(shards, 32, 64)


def documents(n: int) -> list[tuple[list[int], list[int]]]:
    generator = np.random.default_rng(0)
    sizes = generator.integers(4, 30, size=n)
    return [([i % 60 + 1] * int(s), [0, 0] + [1] * int(s - 2)) for i, s in enumerate(sizes)]


def test_documents_carry_their_mask_to_the_predicted_token() -> None:
    source = DocumentSource([([5, 6, 7, 8], [0, 1, 0, 1])], 1, max_len=8)
    (row,) = source.next_batch()
    assert row.ids.tolist() == [5, 6, 7, 8]
    assert row.weights.tolist() == [1, 0, 1]


def test_documents_all_come_once_per_epoch() -> None:
    source = DocumentSource(documents(40), 100, max_len=64, seed=1)
    seen: list[int] = []
    while source.epoch == 0:
        seen += [int(row.ids[0]) for row in source.next_batch()]
    assert sorted(seen[:40]) == list(range(1, 41))


def test_packed_documents_do_not_learn_the_seam() -> None:
    source = DocumentSource([([1, 2, 3], [0, 1, 1]), ([4, 5], [1, 1])], 1, max_len=4, pack_to=4)
    (row,) = source.next_batch()
    assert row.ids.tolist() == [1, 2, 3, 4, 5]
    assert row.weights.tolist() == [1, 1, 0, 1]


def test_documents_that_teach_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="raise max_len"):
        DocumentSource([([1] * 9, [1] * 9)], 8, max_len=4)
    with pytest.raises(BadInput, match="with something to learn"):
        DocumentSource([([1, 2], [1, 0])], 8, max_len=4)
    with pytest.raises(BadInput, match="2 ids but 1 mask"):
        DocumentSource([([1, 2], [1])], 8, max_len=4)
    mixed = DocumentSource([([1] * 9, [1] * 9), ([1, 2], [0, 1])], 1, max_len=4)
    assert (mixed.dropped, len(mixed.rows)) == (1, 1)


def test_micro_batches_pad_at_the_end_with_zero_weight() -> None:
    rows = [Row(np.arange(1, n + 2), np.ones(n, np.float32)) for n in (3, 7, 6, 2, 20)]
    batches = micro_batches(rows, 14)
    assert [tuple(b.input_ids.shape) for b in batches] == [(1, 20), (2, 7), (2, 3)]
    middle = batches[1]
    assert middle.input_ids[1].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert middle.targets[1].tolist() == [2, 3, 4, 5, 6, 7, 0]
    assert middle.weights[1].tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert sum(float(b.weights.sum()) for b in batches) == 38
