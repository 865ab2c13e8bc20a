"""Keep a checkpoint in few megabytes: the matrices in 8 bits, without the optimiser's state.

    python training/chat/keep.py --checkpoint RUN/checkpoint.pt --out training/checkpoints/chat.pt

train.py goes on from it with `--resume`; the optimiser warms up anew in some hundred steps.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor


def small(weight: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    """A matrix as int8 with a scale for each row; anything else as it is."""
    if weight.dim() < 2:
        return weight.float().cpu()
    wide = weight.float().cpu()
    scale = wide.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (wide / scale).round().to(torch.int8), scale


def whole(kept: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """What ``small`` was given, nearly."""
    return kept if isinstance(kept, Tensor) else kept[0].float() * kept[1]


def keep(checkpoint: Path, out: Path) -> None:
    """Write what is needed to go on."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    light = {name: small(weight) for name, weight in state["network"].items()}
    facts = {name: state[name] for name in ("shape", "steps", "tokens", "used")}
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**facts, "network": light}, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    keep(given.checkpoint, given.out)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
