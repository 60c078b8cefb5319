"""Training: optimizer, schedule, data, state, loop."""

from vivace.train.batches import DocumentSource, Row, Source, StreamSource
from vivace.train.config import TrainConfig
from vivace.train.loop import TrainResult, train

__all__ = ["DocumentSource", "Row", "Source", "StreamSource", "TrainConfig", "TrainResult", "train"]
