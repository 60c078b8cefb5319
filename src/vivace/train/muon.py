"""Muon for matrices, AdamW for embeddings, router and norms, in one optimizer with plain named state.

Muon (Jordan et al. 2024; kellerjordan.github.io/posts/muon): the momentum of a matrix is replaced by the nearest
semi-orthogonal matrix, here with the Polar Express iteration (Amsel et al., arXiv 2505.16932). Stacks of experts and
fused gate/up matrices are cut into their single matrices; equal shapes go through the iteration together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vivace.model.lora import INFIX, trainable

# Odd quintic a x + b x^3 + c x^5 per iteration, for singular values in [1e-3, 1] after division by 1.02 * norm.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
CHUNK_ELEMENTS = 1 << 19  # matrices orthogonalised together: what stays in a core's cache (2 MB in fp32)
T = TypeVar("T", Tensor, tuple[Tensor, Tensor, Tensor])
Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # like map: possibly on several threads


def orthogonalise(x_brc: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrices (batch, rows <= cols), to within about 10% of each singular value."""
    x = x_brc / (torch.linalg.matrix_norm(x_brc, keepdim=True) * 1.02 + 1e-7)
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, poly, x, beta=a)
    return x


def orthogonal(x_brc: Tensor) -> Tensor:
    """`orthogonalise` for any shape: over the shorter side."""
    return orthogonalise(x_brc.mT).mT if x_brc.shape[1] > x_brc.shape[2] else orthogonalise(x_brc)


def shape_scale(rows: int, cols: int) -> float:
    """Tall matrices move further, so that their outputs change by the same root mean square."""
    return max(1.0, rows / cols) ** 0.5


def as_matrices(name: str, p: Tensor) -> Tensor:
    """View a parameter as (batch, rows, cols); [gate | up] counts as two matrices."""
    if name.endswith("gate_up"):
        return p.view(-1, p.shape[-2] // 2, p.shape[-1])
    return p.view(-1, p.shape[-2], p.shape[-1])


def uses_muon(name: str, p: Tensor) -> bool:
    """Matrices inside layers, except the router and low-rank adapters."""
    return p.dim() >= 2 and name.startswith("layers.") and not name.endswith("mlp.gate.weight") and INFIX not in name


class MuonAdamW:
    """`step(grads, factor)` moves the model's parameters; learning rates are peaks, `factor` is the schedule's."""

    def __init__(
        self, model: nn.Module, *, muon_lr: float, embedding_lr: float, router_lr: float, norm_lr: float,
        weight_decay: float, momentum: float, betas: tuple[float, float], eps: float = 1e-10,
        adapter_lr: float = 2e-4,
    ) -> None:
        self.model = model
        self.parameters = self.held()
        self.muon_lr, self.weight_decay, self.momentum = muon_lr, weight_decay, momentum
        self.betas, self.eps = betas, eps
        self.muon = [name for name, p in self.parameters.items() if uses_muon(name, p)]
        chosen = set(self.muon)
        self.adam_lr = {
            name: adapter_lr if INFIX in name
            else norm_lr if p.dim() < 2
            else embedding_lr if not name.startswith("layers.")
            else router_lr
            for name, p in self.parameters.items() if name not in chosen
        }  # fmt: skip
        self.state = {f"{name}.momentum": torch.zeros_like(self.parameters[name]) for name in self.muon}
        for name in self.adam_lr:
            for kind in ("mean", "square"):
                self.state[f"{name}.{kind}"] = torch.zeros_like(self.parameters[name])
        self.steps = 0

    def held(self) -> dict[str, Tensor]:
        """The tensors that are updated, by name."""
        return dict(trainable(self.model))

    @torch.no_grad()
    def step(self, grads: dict[str, Tensor], factor: float, run: Run = map) -> None:
        """One update. `run` may spread the chunks of Muon's work over threads; the result does not depend on it."""
        self.steps += 1
        for name, lr in self.adam_lr.items():
            self._adam(name, grads[name], lr * factor)
        self._step_matrices(self.muon, grads, self.muon_lr * factor, run)

    def _step_matrices(self, names: Iterable[str], grads: dict[str, Tensor], lr: float, run: Run) -> None:
        chunks = [chunk for group in self._groups(names, grads).values() for chunk in chunked(group)]
        for _ in run(lambda chunk: self._muon(chunk, lr), chunks):
            pass

    def _adam(self, name: str, grad: Tensor, lr: float) -> None:
        beta1, beta2 = self.betas
        mean, square = self.state[f"{name}.mean"], self.state[f"{name}.square"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = (square / (1 - beta2**self.steps)).sqrt_().add_(self.eps)
        self.parameters[name].addcdiv_(mean, denominator, value=-lr / (1 - beta1**self.steps))

    def _groups(
        self, names: Iterable[str], grads: dict[str, Tensor]
    ) -> dict[tuple[int, ...], list[tuple[Tensor, Tensor, Tensor]]]:
        """Single matrices (parameter, gradient, momentum) by shape."""
        groups: dict[tuple[int, ...], list[tuple[Tensor, Tensor, Tensor]]] = {}
        for name in names:
            tensors = (self.parameters[name].data, grads[name], self.state[f"{name}.momentum"])
            p, grad, momentum = (as_matrices(name, t) for t in tensors)
            groups.setdefault(tuple(p.shape[1:]), []).extend(zip(p, grad, momentum, strict=True))
        return groups

    def _muon(self, chunk: Sequence[tuple[Tensor, Tensor, Tensor]], lr: float) -> None:
        for _, grad, momentum in chunk:
            momentum.lerp_(grad, 1 - self.momentum)
        update = torch.stack([grad.lerp(momentum, self.momentum) for _, grad, momentum in chunk])  # Nesterov
        rows, cols = update.shape[1:]
        update, scale = orthogonal(update), lr * shape_scale(rows, cols)
        for (p, _, _), u in zip(chunk, update, strict=True):
            p.mul_(1 - lr * self.weight_decay).add_(u, alpha=-scale)

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs."""
        return {"steps": self.steps, "state": self.state}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore in place; names and shapes must agree."""
        self.steps = saved["steps"]
        for name, tensor in self.state.items():
            tensor.copy_(saved["state"][name])


def chunked(group: Sequence[T]) -> list[Sequence[T]]:
    """Cut matrices of one shape (or tuples that begin with one) into lots that fit in a cache."""
    first = group[0] if isinstance(group[0], Tensor) else group[0][0]
    size = max(1, CHUNK_ELEMENTS // first.numel())
    return [group[start : start + size] for start in range(0, len(group), size)]
