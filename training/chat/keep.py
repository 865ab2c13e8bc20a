"""Keep a checkpoint in few megabytes: the weights in bf16, without the optimiser's state.

    python training/chat/keep.py --checkpoint RUN/checkpoint.pt --out training/checkpoints/chat.pt

train.py goes on from it with `--resume`; the optimiser warms up anew in some hundred steps.
"""

import argparse
from pathlib import Path

import torch


def keep(checkpoint: Path, out: Path) -> None:
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    light = {name: weight.cpu().bfloat16() for name, weight in state["network"].items()}
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
