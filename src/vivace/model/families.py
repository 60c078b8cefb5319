"""The published architectures the decoder computes, and their config.json in Hugging Face's words.

One row per `model_type` says what sets it apart; the layers ask `config.family` and nothing else. Reading fills in what
a config.json leaves to the defaults of its class in transformers, and refuses whatever the decoder does not compute.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from vivace.core.errors import BadInput

PERIOD = 6  # of our own presets: five local layers to one global layer
Fields = dict[str, Any]


class Family(NamedTuple):
    """What sets one architecture apart."""

    architecture: str
    rope_everywhere: bool  # else RoPE turns sliding layers only, and full layers see no positions
    qk_norm: bool  # RMSNorm of each head's queries and keys
    qkv_bias: bool
    softmax_router: bool  # else sigmoid scores with a selection bias
    defaults: Fields  # fields that a config.json may leave out


_QWEN: Fields = {"max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
_EXAONE: Fields = {"rms_norm_eps": 1e-5, "tie_word_embeddings": False, "num_shared_experts": 1,
                   "routed_scaling_factor": 2.5, "first_k_dense_replace": 1, "sliding_window_pattern": 4,
                   "sliding_window": 4096}  # fmt: skip

FAMILIES: dict[str, Family] = {
    "exaone_moe": Family("ExaoneMoeForCausalLM", False, True, False, False, _EXAONE),
    "qwen2": Family("Qwen2ForCausalLM", True, False, True, False, _QWEN),
    "qwen3": Family("Qwen3ForCausalLM", True, True, False, False, _QWEN | {"head_dim": 128}),
    "qwen3_moe": Family("Qwen3MoeForCausalLM", True, True, False, True,
                        _QWEN | {"norm_topk_prob": False, "moe_intermediate_size": 768, "num_experts_per_tok": 8}),
}  # fmt: skip


def read_fields(raw: Fields) -> Fields:
    """The fields of a `ModelConfig` from those of a config.json. BadInput names what cannot be used."""
    kind = raw.get("model_type")
    if kind not in FAMILIES:
        raise BadInput(f"config.json has model_type={kind!r}; supported are {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    fields = family.defaults | {key: value for key, value in raw.items() if value is not None}
    for key, expected in {"hidden_act": "silu", "n_group": 1, "topk_group": 1, "attention_bias": False}.items():
        if fields.get(key, expected) != expected:
            raise BadInput(f"config.json has {key}={fields[key]!r}; only {expected!r} is supported")
    for key in ("num_hidden_layers", "num_attention_heads", "hidden_size"):
        if not isinstance(fields.get(key), int):
            raise BadInput(f"config.json does not say {key}; it is not the configuration of a whole model")
    fields["rope_theta"] = _rope_theta(fields)
    fields.setdefault("num_key_value_heads", fields["num_attention_heads"])
    fields.setdefault("head_dim", fields["hidden_size"] // fields["num_attention_heads"])
    if kind == "qwen3_moe":
        fields["num_experts"] = fields.get("num_experts", fields.get("num_local_experts", 128))
    fields["layer_types"] = raw.get("layer_types") or _layer_types(kind, fields, raw)
    fields["mlp_layer_types"] = _mlp_layer_types(kind, fields)
    return fields


def _rope_theta(fields: Fields) -> float:
    rope = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise BadInput(f"config.json has rope_type={kind!r}; only 'default' is supported")
    return float(rope.get("rope_theta") or fields.get("rope_theta") or 10_000.0)


def _layer_types(kind: str, fields: Fields, raw: Fields) -> list[str]:
    layers = range(fields["num_hidden_layers"])
    if kind == "exaone_moe":
        if raw.get("sliding_window", fields["sliding_window"]) is None:
            raise BadInput("config.json has no sliding_window, so full layers would rotate; that is not supported")
        pattern = fields["sliding_window_pattern"]
        if not isinstance(pattern, int) or pattern < 1:
            raise BadInput(f"config.json has sliding_window_pattern={pattern!r} and no layer_types; add layer_types")
        return ["full_attention" if (i + 1) % pattern == 0 else "sliding_attention" for i in layers]
    if not fields.get("use_sliding_window"):
        return ["full_attention" for _ in layers]
    first = 0 if kind == "qwen3_moe" else fields.get("max_window_layers", 28)
    return ["sliding_attention" if i >= first else "full_attention" for i in layers]


def _mlp_layer_types(kind: str, fields: Fields) -> list[str]:
    layers = range(fields["num_hidden_layers"])
    if kind == "exaone_moe":
        dense = fields["first_k_dense_replace"]
        return fields.get("mlp_layer_types") or ["dense" if i < dense else "sparse" for i in layers]
    if kind != "qwen3_moe":
        return ["dense" for _ in layers]
    step, dense_layers = fields.get("decoder_sparse_step", 1), fields.get("mlp_only_layers") or []
    sparse = fields["num_experts"] > 0
    return ["sparse" if sparse and i not in dense_layers and (i + 1) % step == 0 else "dense" for i in layers]


def write_fields(own: Fields) -> Fields:
    """The config.json that transformers, vLLM and SGLang read, from the fields of a `ModelConfig`."""
    kind, layer_types = own["model_type"], own["layer_types"]
    fields = {
        "architectures": [FAMILIES[kind].architecture], **own, "hidden_act": "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": own["rope_theta"]}, "torch_dtype": "bfloat16",
    }  # fmt: skip
    slides = "sliding_attention" in layer_types
    if kind == "exaone_moe":
        del fields["rope_theta"]
        windows = [own["sliding_window"] if t == "sliding_attention" else 0 for t in layer_types]
        return fields | {"sliding_window_pattern": PERIOD, "sliding_windows": windows, "first_k_dense_replace": 0,
                         "n_group": 1, "topk_group": 1}  # fmt: skip
    fields |= {"use_sliding_window": slides, "sliding_window": own["sliding_window"] if slides else None}
    if slides and kind != "qwen3_moe":
        fields["max_window_layers"] = layer_types.index("sliding_attention")
    unused = ["mlp_layer_types", "num_shared_experts", "routed_scaling_factor"]
    if kind == "qwen3_moe":
        fields |= {"decoder_sparse_step": 1,
                   "mlp_only_layers": [i for i, t in enumerate(own["mlp_layer_types"]) if t == "dense"]}  # fmt: skip
    else:
        unused += ["moe_intermediate_size", "num_experts", "num_experts_per_tok", "norm_topk_prob"]
    return {key: value for key, value in fields.items() if key not in unused}
