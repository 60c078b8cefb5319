"""A mixture keeps its proportions and resumes with the very next row."""

import pytest

from vivace.core.errors import BadInput
from vivace.train.batches import DocumentSource
from vivace.train.mix import MixedSource


def _mixture() -> MixedSource:
    short = DocumentSource([([1] * 11, [1.0] * 11)] * 5, 1, max_len=100)
    long = DocumentSource([([2] * (n + 31), [1.0] * (n + 31)) for n in range(6)], 1, max_len=100)
    return MixedSource([(short, 3.0), (long, 1.0)], 100)


def test_shares_are_of_tokens() -> None:
    mixture = _mixture()
    for _ in range(50):
        assert sum(len(row.weights) for row in mixture.next_batch()) >= 100
    assert mixture.given[0] / mixture.given[1] == pytest.approx(3.0, rel=0.02)


def test_resume_gives_the_next_row() -> None:
    straight, stopped = _mixture(), _mixture()
    for _ in range(7):
        straight.next_batch()
        stopped.next_batch()
    resumed = _mixture()
    resumed.load_state(stopped.state())
    for _ in range(5):
        a, b = straight.next_batch(), resumed.next_batch()
        assert [row.ids.tolist() for row in a] == [row.ids.tolist() for row in b]


def test_shares_must_be_positive() -> None:
    with pytest.raises(BadInput, match="positive shares"):
        MixedSource([], 10)
