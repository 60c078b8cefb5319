"""Weights as the compiled step wants them: panels of 32 columns in one of three formats (see `products.h`).

- fp32: as they are.
- bf16: half the memory; nothing is lost of a checkpoint that is stored in bf16, as ours are.
- int8: a quarter, and a scale for each 64 inputs of an output: the same 8.5 bits a weight as llama.cpp's q8_0. What
  comes in is rounded to 16 bits, not to 8, so that only the weights lose anything (Dettmers et al., arXiv 2208.07339,
  on why inputs should not: a few of them are very large).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from vivace.core.errors import BadInput
from vivace.engine.blocks import BLOCK

WeightFormat = Literal["fp32", "bf16", "int8"]
FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)  # in the order of `Format` in products.h
PANEL = BLOCK  # columns of packed weights, positions of packed keys
GROUP = 64  # inputs that share a scale


def weight_format(text: str) -> WeightFormat:
    """As the command line names it. BadInput when there is no such format."""
    for kind in FORMATS:
        if kind == text:
            return kind
    raise BadInput(f"--weights is {text!r}; choose {', '.join(FORMATS)}")


def plain(tensor: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A copy on the cpu."""
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()


def pack(weight: Tensor, kind: WeightFormat) -> tuple[Tensor, Tensor | None]:
    """(..., out, in) -> panels, and for int8 their scales.

    fp32 and bf16: (..., out / 32, in, 32), the last panel filled up with zeros. int8: (..., out / 32, in / 2, 32, 2)
    with `in` filled up to whole groups, and scales (..., out / 32, in / 64, 32).
    """
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    padded = pad(plain(weight, dtype), (0, 0, 0, -weight.shape[-2] % PANEL))
    if kind != "int8":
        return padded.unflatten(-2, (-1, PANEL)).transpose(-1, -2).contiguous(), None
    groups = pad(padded, (0, -weight.shape[-1] % GROUP)).unflatten(-1, (-1, GROUP))
    scales, rounded = quantise(groups)
    pairs = rounded.flatten(-2).unflatten(-2, (-1, PANEL)).unflatten(-1, (-1, 2)).transpose(-2, -3)
    return pairs.contiguous(), scales.unflatten(-2, (-1, PANEL)).transpose(-1, -2).contiguous()


def quantise(groups: Tensor) -> tuple[Tensor, Tensor]:
    """(..., GROUP) -> scales (...) in fp32, and int8 numbers from -127 to 127."""
    scales = groups.abs().amax(-1) / 127
    rounded = (groups / scales.clamp(min=1e-30).unsqueeze(-1)).round_().to(torch.int8)
    return scales, rounded
