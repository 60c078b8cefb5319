"""The decoder: configuration, presets, layers, checkpoints. Knows nothing of parallelism."""

from vivace.model.checkpoint import load_checkpoint, save_checkpoint
from vivace.model.config import ModelConfig
from vivace.model.decoder import Decoder, Loss
from vivace.model.presets import PRESETS, preset

__all__ = ["PRESETS", "Decoder", "Loss", "ModelConfig", "load_checkpoint", "preset", "save_checkpoint"]
