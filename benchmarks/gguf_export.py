"""Writes a Qwen3-MoE `Decoder` as a GGUF file without a tokenizer, for measuring llama.cpp on the very same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vivace.model import Decoder

NAMES = {
    "input_layernorm.weight": "attn_norm", "self_attn.q_proj.weight": "attn_q", "self_attn.k_proj.weight": "attn_k",
    "self_attn.v_proj.weight": "attn_v", "self_attn.o_proj.weight": "attn_output",
    "self_attn.q_norm.weight": "attn_q_norm", "self_attn.k_norm.weight": "attn_k_norm",
    "post_attention_layernorm.weight": "ffn_norm", "mlp.gate.weight": "ffn_gate_inp", "mlp.down": "ffn_down_exps",
}  # fmt: skip


def tensors(model: Decoder) -> dict[str, Tensor]:
    """llama.cpp's names; experts stacked, gate and up apart."""
    named = {}
    for name, tensor in model.state_dict().items():
        parts = name.split(".", 2)
        if parts[0] != "layers":
            top = {"embed_tokens": "token_embd", "lm_head": "output", "norm": "output_norm"}[parts[0]]
            named[f"{top}.weight"] = tensor
        elif parts[2] == "mlp.gate_up":
            gate, up = tensor.chunk(2, dim=1)
            named[f"blk.{parts[1]}.ffn_gate_exps.weight"] = gate
            named[f"blk.{parts[1]}.ffn_up_exps.weight"] = up
        else:
            named[f"blk.{parts[1]}.{NAMES[parts[2]]}.weight"] = tensor
    return named


def write_gguf(model: Decoder, path: Path, kind: str) -> None:
    """`kind`: "bf16", "q8_0" or "q4_0"; norms and the router stay in fp32, as llama.cpp's own converter leaves them."""
    import gguf

    config = model.config
    if config.model_type != "qwen3_moe":
        raise ValueError(f"only qwen3_moe is written, this is {config.model_type}")
    writer: Any = gguf.GGUFWriter(path, "qwen3moe")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    wanted = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0,
              "q4_0": gguf.GGMLQuantizationType.Q4_0}[kind]  # fmt: skip
    for name, tensor in tensors(model).items():
        data = tensor.detach().float().numpy()
        plain = tensor.dim() < 2 or "ffn_gate_inp" in name
        form = gguf.GGMLQuantizationType.F32 if plain else wanted
        writer.add_tensor(name, data if plain else gguf.quants.quantize(data, form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class LlamaCpp:
    """llama.cpp through its C API (the llama-cpp-python package): rows of logits after a batch of tokens."""

    def __init__(self, path: Path, vocab: int, *, slots: int, context: int, threads: int) -> None:
        from llama_cpp import llama_cpp as api

        self._api: Any = api
        self._quiet = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self._quiet, None)
        api.llama_backend_init()
        self._model = api.llama_model_load_from_file(str(path).encode(), api.llama_model_default_params())
        params = api.llama_context_default_params()
        params.n_ctx, params.n_seq_max = slots * context, slots
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = threads
        self._context = api.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp cannot open {path}")
        self._batch = api.llama_batch_init(512, 0, 1)
        self._vocab = vocab

    def clear(self) -> None:
        self._api.llama_memory_clear(self._api.llama_get_memory(self._context), False)

    def forget(self, start: int) -> None:
        """Of slot 0, everything from position `start` on."""
        if not self._api.llama_memory_seq_rm(self._api.llama_get_memory(self._context), 0, start, -1):
            raise RuntimeError("llama.cpp cannot forget a part of a sequence")

    def extend(self, start: int, ids: list[int], tail: int) -> None:
        """At most 512 `ids` from position `start` of slot 0 on; logits are computed after the last `tail` of them."""
        batch = self._batch
        for offset, token in enumerate(ids):
            batch.token[offset], batch.pos[offset], batch.n_seq_id[offset] = token, start + offset, 1
            batch.seq_id[offset][0], batch.logits[offset] = 0, offset >= len(ids) - tail
        batch.n_tokens = len(ids)
        if self._api.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        self._api.llama_get_logits(self._context)

    def step(self, pieces: list[tuple[int, int, list[int]]]) -> np.ndarray:
        """(slot, start, ids) of each sequence, at most 512 ids together; logits after each: (pieces, V)."""
        batch, row = self._batch, 0
        for slot, start, ids in pieces:
            for offset, token in enumerate(ids):
                batch.token[row], batch.pos[row], batch.n_seq_id[row] = token, start + offset, 1
                batch.seq_id[row][0], batch.logits[row] = slot, offset == len(ids) - 1
                row += 1
        batch.n_tokens = row
        if self._api.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        logits = self._api.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (len(pieces), self._vocab)).copy()


def random_model(layers: int = 8, positions: int = 4096) -> Decoder:
    """Qwen3-MoE, 179M parameters with 8 layers, 34.7M active; weights rounded to bf16, attention output not at zero."""
    from vivace.model import ModelConfig

    config = ModelConfig(
        model_type="qwen3_moe", vocab_size=32_768, hidden_size=384, num_hidden_layers=layers, num_attention_heads=6,
        num_key_value_heads=2, head_dim=64, intermediate_size=512, moe_intermediate_size=512, num_experts=32,
        num_experts_per_tok=4, layer_types=["full_attention"] * layers, mlp_layer_types=["sparse"] * layers,
        tie_word_embeddings=False, norm_topk_prob=True, max_position_embeddings=positions,
    )  # fmt: skip
    model = Decoder(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("o_proj.weight"):
                p.normal_(0.0, 0.05)
            p.copy_(p.bfloat16().float())
    return model
