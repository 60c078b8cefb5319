"""What a decoder is made of, in the field names of transformers."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vivace.core.errors import BadInput
from vivace.model.families import FAMILIES, PERIOD, Family, read_fields, write_fields

AttentionKind = Literal["sliding_attention", "full_attention"]
MlpKind = Literal["dense", "sparse"]
ModelType = Literal["exaone_moe", "qwen2", "qwen3", "qwen3_moe"]


def interleaved_layer_types(num_layers: int, global_index: int = 3) -> list[AttentionKind]:
    """Five sliding layers and one full layer per period; the full one sits at `global_index` of each period."""
    return ["full_attention" if i % PERIOD == global_index else "sliding_attention" for i in range(num_layers)]


def alternating_mlp_types(num_layers: int) -> list[MlpKind]:
    """Dense, sparse, dense, sparse, ..."""
    return ["sparse" if i % 2 else "dense" for i in range(num_layers)]


class ModelConfig(BaseModel):
    """Dimensions of one decoder; `model_type` says which architecture (see `vivace.model.families`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_type: ModelType = "exaone_moe"
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    moe_intermediate_size: int = 0
    num_experts: int = 0
    num_experts_per_tok: int = 0
    num_shared_experts: int = 0
    layer_types: list[AttentionKind]
    mlp_layer_types: list[MlpKind]
    sliding_window: int = 512
    max_position_embeddings: int = 2048
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-5
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.0
    tie_word_embeddings: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        layers = self.num_hidden_layers
        if len(self.layer_types) != layers or len(self.mlp_layer_types) != layers:
            raise ValueError(f"layer_types and mlp_layer_types need one entry for each of the {layers} layers")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        if "sparse" in self.mlp_layer_types and not 0 < self.num_experts_per_tok <= self.num_experts:
            raise ValueError("num_experts_per_tok must lie between 1 and num_experts")
        if self.num_shared_experts and self.model_type != "exaone_moe":
            raise ValueError(f"{self.model_type} has no shared experts")
        if self.head_dim % 2:
            raise ValueError("head_dim must be even")
        return self

    @property
    def family(self) -> Family:
        """What sets this architecture apart from the others."""
        return FAMILIES[self.model_type]

    def rotates(self, layer: int) -> bool:
        """Whether RoPE turns the queries and keys of this layer."""
        return self.family.rope_everywhere or self.layer_types[layer] == "sliding_attention"

    def to_hf(self) -> dict[str, Any]:
        """The config.json that transformers, vLLM and SGLang read."""
        return write_fields(self.model_dump())

    @classmethod
    def from_hf(cls, fields: dict[str, Any]) -> ModelConfig:
        """Read a config.json; refuses what this decoder does not compute."""
        known = read_fields(fields)
        try:
            return cls(**{name: known[name] for name in cls.model_fields if name in known})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "fields"
            raise BadInput(f"config.json is not usable: {where}: {first['msg']}") from error
