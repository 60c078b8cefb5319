"""What a decoder is made of, in the field names of `ExaoneMoeConfig` (transformers)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vivace.core.errors import BadInput

AttentionKind = Literal["sliding_attention", "full_attention"]
MlpKind = Literal["dense", "sparse"]
PERIOD = 6  # five local layers to one global layer


def interleaved_layer_types(num_layers: int, global_index: int = 3) -> list[AttentionKind]:
    """Five sliding layers and one full layer per period; the full one sits at `global_index` of each period."""
    return ["full_attention" if i % PERIOD == global_index else "sliding_attention" for i in range(num_layers)]


def alternating_mlp_types(num_layers: int) -> list[MlpKind]:
    """Dense, sparse, dense, sparse, ..."""
    return ["sparse" if i % 2 else "dense" for i in range(num_layers)]


class ModelConfig(BaseModel):
    """Dimensions of one decoder. RoPE turns queries and keys of sliding layers only; full layers see no positions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    moe_intermediate_size: int
    num_experts: int
    num_experts_per_tok: int
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
        if self.head_dim % 2:
            raise ValueError("head_dim must be even")
        return self

    def to_hf(self) -> dict[str, Any]:
        """The config.json that transformers, vLLM and SGLang read."""
        own = self.model_dump(exclude={"rope_theta"})
        return {
            "architectures": ["ExaoneMoeForCausalLM"],
            "model_type": "exaone_moe",
            **own,
            "hidden_act": "silu",
            "sliding_window_pattern": PERIOD,
            "sliding_windows": [self.sliding_window if t == "sliding_attention" else 0 for t in self.layer_types],
            "first_k_dense_replace": 0,
            "num_shared_experts": 0,
            "n_group": 1,
            "topk_group": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "torch_dtype": "bfloat16",
        }

    @classmethod
    def from_hf(cls, fields: dict[str, Any]) -> ModelConfig:
        """Read a config.json; refuses what this decoder does not compute."""
        fixed = {
            "model_type": "exaone_moe", "hidden_act": "silu", "n_group": 1, "topk_group": 1, "num_shared_experts": 0,
        }
        for key, expected in fixed.items():
            if fields.get(key, expected) != expected:
                raise BadInput(f"config.json has {key}={fields[key]!r}; only {expected!r} is supported")
        rope = fields.get("rope_parameters") or {}
        if rope.get("rope_type", "default") != "default":
            raise BadInput(f"config.json has rope_type={rope['rope_type']!r}; only 'default' is supported")
        known = {name: fields[name] for name in cls.model_fields if name in fields}
        if "rope_theta" in rope:
            known["rope_theta"] = rope["rope_theta"]
        try:
            return cls(**known)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "fields"
            raise BadInput(f"config.json is not usable: {where}: {first['msg']}") from error
