"""Segments: the part that is trained on ends with the last sampled id."""

from vivace.core.types import Segment


def test_results_that_nobody_answered_are_left_out_of_training() -> None:
    segment = Segment(ids=[1, 2, 3, 4, 5], mask=[0, 1, 1, 0, 0], logprobs=[0.0, -0.5, -0.1, 0.0, 0.0],
                      turns=[-1, 0, 0, -1, -1])
    trained = segment.trained()
    assert (trained.ids, trained.mask, trained.turns) == ([1, 2, 3], [0, 1, 1], [-1, 0, 0])
    assert trained.logprobs == [0.0, -0.5, -0.1]
    assert trained.trained() == trained
    assert Segment(ids=[1], mask=[0], logprobs=[0.0], turns=[-1]).trained() == Segment()
