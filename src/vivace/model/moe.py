"""Sparse mixture of experts: top-k of a router's scores, dropless; optionally a shared expert that every token takes.

Sigmoid routing (DeepSeek-V3, arXiv 2412.19437, and exaone_moe): scores = sigmoid(x @ gate^T) in fp32; the k experts
with the largest score + bias are chosen; the gates are the scores (without the bias), renormalised to sum to one and
scaled. The bias is no parameter: training moves it to even out the load (`vivace.train.balance`).
Softmax routing (qwen3_moe): scores = softmax(x @ gate^T), and there is no bias.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import grouped_mm, linear

from vivace.model.config import ModelConfig
from vivace.model.ffn import DenseMLP
from vivace.model.functional import combine, dispatch, swiglu
from vivace.model.lora import adapted


class Load:
    """Collects the number of tokens each expert got, layer by layer; padding (where `real_N` is False) is no token."""

    def __init__(self, real_N: Tensor | None = None) -> None:
        self.real_N = real_N
        self.counts: list[Tensor] = []

    def add(self, chosen_Nk: Tensor, load_E: Tensor) -> None:
        """One layer's choice; `load_E` counts padding too."""
        if self.real_N is not None:
            load_E = torch.bincount(chosen_Nk[self.real_N].flatten(), minlength=len(load_E))
        self.counts.append(load_E)


class SparseMLP(nn.Module):
    """x_BTD -> x_BTD. gate_up (E, 2F, D) and down (E, D, F) hold all experts."""

    e_score_correction_bias: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        experts, hidden, width = config.num_experts, config.hidden_size, config.moe_intermediate_size
        self.top_k, self.normalise, self.scale = (
            config.num_experts_per_tok, config.norm_topk_prob, config.routed_scaling_factor,
        )
        self.gate = nn.Linear(hidden, experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(experts, 2 * width, hidden))
        self.down = nn.Parameter(torch.empty(experts, hidden, width))
        self.softmax = config.family.softmax_router
        self.register_buffer("e_score_correction_bias", None if self.softmax else torch.zeros(experts))
        shared = config.num_shared_experts * width
        self.shared_experts = DenseMLP(config, shared) if shared else None
        self.adapters = nn.ModuleDict()  # low-rank updates by matrix: `vivace.model.lora`

    def forward(self, x_BTD: Tensor, counts: Load | None = None) -> Tensor:
        """`counts`, when given, receives the number of tokens each expert got: (E,) int64."""
        x_ND = x_BTD.flatten(0, -2)
        gates_Nk, chosen_Nk = self.route(x_ND)
        load_E = torch.bincount(chosen_Nk.flatten(), minlength=self.gate.out_features)
        if counts is not None:
            counts.add(chosen_Nk, load_E)
        order = chosen_Nk.flatten().argsort(stable=True)  # slot -> (token, choice); slots grouped by expert
        slot_Nk = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
        slot_Nk = slot_Nk.view_as(chosen_Nk)
        y_MD = self.experts(dispatch(x_ND, order, slot_Nk), gates_Nk.flatten()[order], load_E)
        y_BTD = combine(y_MD, order, slot_Nk).view_as(x_BTD)
        return y_BTD if self.shared_experts is None else y_BTD + self.shared_experts(x_BTD)

    def route(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Gates (N, k) fp32 and chosen experts (N, k)."""
        logits_NE = linear(x_ND.float(), self.gate.weight.float())
        scores_NE = logits_NE.softmax(-1) if self.softmax else logits_NE.sigmoid()
        bias_E = 0.0 if self.e_score_correction_bias is None else self.e_score_correction_bias
        chosen_Nk = (scores_NE.detach() + bias_E).topk(self.top_k, dim=-1, sorted=False).indices
        gates_Nk = scores_NE.gather(-1, chosen_Nk)
        if self.normalise:
            gates_Nk = gates_Nk / (gates_Nk.sum(-1, keepdim=True) + 1e-20)
        return gates_Nk * self.scale, chosen_Nk

    def experts(self, x_MD: Tensor, gate_M: Tensor, load_E: Tensor) -> Tensor:
        """Each expert on its own slots. The gate multiplies inside, where the width is F rather than D."""
        offsets = load_E.cumsum(0, dtype=torch.int32)
        gate_up = grouped_mm(x_MD, self.gate_up.transpose(1, 2), offs=offsets)
        hidden_MF = swiglu(adapted(self.adapters, "gate_up", x_MD, gate_up, offsets))
        hidden_MF = hidden_MF * gate_M.unsqueeze(-1).to(hidden_MF.dtype)
        return adapted(self.adapters, "down", hidden_MF, grouped_mm(hidden_MF, self.down.transpose(1, 2), offs=offsets),
                       offsets)  # fmt: skip
