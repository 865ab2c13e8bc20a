"""Muon for the matrices of the layers, AdamW for the rest; equal matrices are turned together."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

# What layers add to the residual stream must stay of the size of the embeddings, or tokens cannot
# be told apart in it and copying is not learned. Muon's steps have one size, so these get less.
OUTWARD = 0.05


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz: each matrix of a stack as the nearest one with singular values near 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = stack.bfloat16()
    flipped = x.shape[-2] > x.shape[-1]
    x = x.mT if flipped else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if flipped else x).to(stack.dtype)


class Muon:
    """Momentum, made orthogonal; ``weight_decay`` pulls the matrices towards zero."""

    def __init__(
        self, weights: dict[str, nn.Parameter], momentum: float, weight_decay: float
    ) -> None:
        self.groups: dict[tuple[int, int, float], list[nn.Parameter]] = defaultdict(list)
        for name, weight in weights.items():
            height, width = weight.shape
            scale = max(1.0, height / width) ** 0.5
            outward = "o_proj" in name or "down_proj" in name
            self.groups[height, width, scale * (OUTWARD if outward else 1.0)].append(weight)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.moving = [
            torch.zeros(len(g), *s[:2], device=g[0].device) for s, g in self.groups.items()
        ]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for moving, ((_, _, scale), weights) in zip(self.moving, self.groups.items(), strict=True):
            slope = torch.stack([w.grad for w in weights if w.grad is not None])
            moving.lerp_(slope, 1 - self.momentum)
            turned = orthogonal(slope.lerp(moving, self.momentum))
            for weight, change in zip(weights, turned, strict=True):
                weight.mul_(1 - rate * self.weight_decay)
                weight.add_(change, alpha=-rate * scale)


class Optimizer:
    """Both, with one call for a step; ``share`` is the part of the full rate that holds now."""

    def __init__(self, network: nn.Module, muon_rate: float, adam_rate: float) -> None:
        named = list(network.named_parameters())
        matrices = {n: w for n, w in named if w.dim() == 2 and "embed" not in n}
        rest = [w for n, w in named if w.dim() != 2 or "embed" in n]
        self.muon = Muon(matrices, momentum=0.95, weight_decay=0.05)
        self.adam = torch.optim.AdamW(rest, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.rates = (muon_rate, adam_rate)

    def step(self, share: float) -> None:
        self.muon.step(self.rates[0] * share)
        for group in self.adam.param_groups:
            group["lr"] = self.rates[1] * share
        self.adam.step()

    def state(self) -> dict[str, Any]:
        return {"muon": self.muon.moving, "adam": self.adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self.muon.moving = state["muon"]
        self.adam.load_state_dict(state["adam"])
