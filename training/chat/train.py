"""Train the chat model on packed shards; stops and goes on at any time.

    python training/chat/train.py --data ../work/chat --out ../work/run --plan 256:6 512:10 1024:6
    python training/chat/train.py ... --decay 3000000     # from the checkpoint down to rate 0
    python training/chat/train.py ... --device cuda --part 65536 --wait    # while pack.py --jobs works

The rate is warmed up, held, and falls linearly over the tokens of ``--decay``: without it the run
ends at the full rate, and its checkpoint can be trained on. The plan names row lengths and millions
of tokens for each; the same seed and plan give the same weights on the same machine. On a GPU the
network is compiled.
"""

import argparse
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from keep import whole
from network import Network, Shape, relate
from optimizer import Optimizer
from torch import Tensor

ASSET = Path(__file__).parent / "asset"
LIGHT = 0.1  # weight of tokens that are not part of a reply


@dataclass(frozen=True)
class Settings:
    """What may be chosen for a run; kept with the checkpoint."""

    seed: int = 1
    part: int = 2048  # tokens that go through the network at once
    parts: int = 2  # of these for one step
    scored: float = 0.3  # share of the tokens whose loss is computed
    warmup: int = 100  # steps
    muon_rate: float = 0.02
    adam_rate: float = 0.003


def batches(
    shard: Path, rows: int, seed: list[int], device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Parts of ``rows`` rows of a shard, in an order that the seed decides."""
    held = np.load(shard)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(held["ids"]))).to(device)
    arrays = {k: torch.from_numpy(held[k].astype(np.int32)).to(device).long() for k in held.files}
    for start in range(0, len(order) - rows + 1, rows):
        chosen = order[start : start + rows]
        yield {key: value[chosen] for key, value in arrays.items()}


def scored(part: dict[str, Tensor], share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """The places whose next token is scored: replies first, then any others, always as many."""
    documents, full, ids = part["documents"], part["full"], part["ids"]
    follows = torch.zeros_like(full)
    follows[:, :-1] = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] > 0)
    learned = torch.zeros_like(full)
    learned[:, :-1] = full[:, 1:]
    weight = (follows * (learned + LIGHT * (1 - learned))).flatten().float()
    drawn = torch.rand(weight.shape, generator=generator, device=weight.device)
    chance = drawn + 2.0 * (weight > 0.5) + (weight > 0)
    chosen = chance.topk(int(share * len(weight))).indices.sort().values
    targets = torch.zeros_like(ids)
    targets[:, :-1] = ids[:, 1:]
    return {"chosen": chosen, "targets": targets.flatten()[chosen], "weights": weight[chosen]}


def places(documents: Tensor) -> Tensor:
    """Where each token stands in its own document."""
    count = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return count - torch.where(first, count, 0).cummax(1).values


class Run:
    """A network, its optimiser, and how far it has come."""

    def __init__(self, settings: Settings, shape: Shape, out: Path, device: str = "cpu") -> None:
        self.settings, self.shape, self.out = settings, shape, out
        self.device = torch.device(device)
        self.network = Network(shape)
        self.network.start(settings.seed)
        self.network.to(self.device)
        self.loss = self.network.loss
        if self.device.type == "cuda":
            self.loss = torch.compile(self.network.loss)
        self.optimizer = Optimizer(self.network, settings.muon_rate, settings.adam_rate)
        self.steps = self.tokens = 0
        self.cold = 0  # the step at which the optimiser began
        self.stopping = False
        self.used: dict[str, int] = {}  # shards of each length that are behind us
        out.mkdir(parents=True, exist_ok=True)

    @property
    def file(self) -> Path:
        return self.out / "checkpoint.pt"

    def relate_tokens(self, tokenizer: Path) -> None:
        """Begin with equal vectors for what is one word; see ``relate``."""
        vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        embeddings = self.network.model.embed_tokens.weight.cpu()
        relate(embeddings, tokens, self.settings.seed)
        with torch.no_grad():
            self.network.model.embed_tokens.weight.copy_(embeddings)

    def stop_on_signals(self) -> None:
        """Ctrl-C and SIGTERM end the run after a step and a checkpoint."""

        def stop(_number: int, _frame: object) -> None:
            self.stopping = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)

    def save(self, name: str = "checkpoint.pt") -> None:
        facts = {"steps": self.steps, "tokens": self.tokens, "used": self.used}
        state = {
            "shape": self.shape.as_dict(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state(),
            **facts,
        }
        temporary = self.out / (name + ".part")
        torch.save(state, temporary)
        temporary.replace(self.out / name)

    def load(self, file: Path) -> None:
        state = torch.load(file, weights_only=True, map_location=self.device)
        self.network.load_state_dict({name: whole(kept) for name, kept in state["network"].items()})
        self.steps, self.tokens, self.used = state["steps"], state["tokens"], state["used"]
        if "optimizer" in state:
            self.optimizer.load(state["optimizer"])
        else:
            self.cold = self.steps

    def step(
        self, parts: list[dict[str, Tensor]], share: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        losses: list[Tensor] = []
        weights: list[Tensor] = []
        for part in parts:
            score = scored(part, self.settings.scored, generator)
            inputs = (part["ids"], part["documents"], places(part["documents"]))
            loss, each = self.loss(
                inputs, score["chosen"], score["targets"], score["weights"], torch.bfloat16
            )
            (loss / len(parts)).backward()
            losses.append(each)
            weights.append(score["weights"])
            self.tokens += part["ids"].numel()
        warm = min(1.0, (self.steps - self.cold + 1) / self.settings.warmup)
        self.optimizer.step(share * warm)
        self.network.zero_grad()
        self.steps += 1
        every, full = torch.cat(losses), torch.cat(weights) > 0.5
        rest = (~full) & (torch.cat(weights) > 0)
        return {"reply": every[full].mean(), "rest": every[rest].mean()}


def train(
    run: Run,
    data: Path,
    plan: list[tuple[int, float]],
    decay: int,
    *,
    every: float,
    report: int = 25,
    wait: bool = False,
) -> None:
    """Go through the plan; ``decay`` tokens at its end (0: none) are those in which the rate falls."""
    s = run.settings
    whole = sum(int(millions * 1e6) for _, millions in plan)
    clock = Clock(whole, run.tokens, report)
    shown: list[dict[str, Tensor]] = []
    for length, millions in plan:
        end = run.tokens + int(millions * 1e6)
        rows = s.part // length
        while run.tokens < end:
            number = run.used.get(str(length), 0)
            shard = data / f"{length}-{number:04}.npz"
            while wait and not shard.exists() and not run.stopping:
                time.sleep(0.05)
            if run.stopping:
                break
            if not shard.exists():
                run.save()
                raise SystemExit(f"There is no shard {shard.stem}: make it with pack.py.")
            generator = torch.Generator(run.device)
            generator.manual_seed(s.seed * 1_000_003 + length * 1009 + number)
            source = batches(shard, rows, [s.seed, length, number], run.device)
            run.used[str(length)] = (
                number + 1
            )  # a run that is stopped leaves the rest of a shard out
            while run.tokens < end:
                parts = [part for _, part in zip(range(s.parts), source, strict=False)]
                if len(parts) < s.parts:
                    break
                left = whole - (run.tokens - clock.start)
                share = min(1.0, max(0.02, left / decay)) if decay else 1.0
                shown.append(run.step(parts, share, generator))
                if run.steps % clock.report == 0:
                    _report(run, shown, length, share, clock)
                    shown = []
                if time.time() - clock.kept > every or run.stopping:
                    run.save()
                    if run.stopping:
                        return
                    clock.kept = time.time()
    run.save()


@dataclass
class Clock:
    """Since when this sitting trains, and how many tokens it is to see."""

    whole: int
    start: int
    report: int  # steps from one line of the log to the next
    began: float = field(default_factory=time.time)
    kept: float = field(default_factory=time.time)


def _report(
    run: Run, shown: list[dict[str, Tensor]], length: int, share: float, clock: Clock
) -> None:
    began, start, whole = clock.began, clock.start, clock.whole
    speed = (run.tokens - start) / (time.time() - began)
    facts: dict[str, Any] = {
        "step": run.steps,
        "tokens": run.tokens,
        "length": length,
        **{key: round(torch.stack([s[key] for s in shown]).mean().item(), 4) for key in shown[0]},
        "rate": round(share, 3),
        "tokens/s": round(speed),
        "minutes left": round((whole - (run.tokens - start)) / speed / 60, 1),
    }
    line = json.dumps(facts)
    print(line, flush=True)
    with (run.out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--plan", nargs="+", required=True, help="LENGTH:MILLIONS of tokens, in order"
    )
    parser.add_argument(
        "--decay", type=float, default=0, help="tokens at the end with a falling rate"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=704)
    parser.add_argument("--part", type=int, default=2048, help="tokens at once")
    parser.add_argument("--parts", type=int, default=2, help="such parts for one step")
    parser.add_argument("--scored", type=float, default=0.3, help="share of tokens with a loss")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--wait", action="store_true", help="for shards that are still being made")
    parser.add_argument("--rate", type=float, default=1.0, help="share of the full rates")
    parser.add_argument("--warmup", type=int, default=100, help="steps in which the rate rises")
    parser.add_argument("--resume", type=Path, help="a checkpoint, else the one in --out")
    parser.add_argument("--save-every", type=float, default=600, help="seconds")
    parser.add_argument("--tokenizer", type=Path, default=ASSET / "tokenizer.json")
    parser.add_argument("--report", type=int, default=25, help="steps between lines of the log")
    given = parser.parse_args()
    torch.set_num_threads(1)
    heads = given.width // 32
    tokens = json.loads(given.tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    shape = Shape(
        vocab=len(tokens),
        width=given.width,
        layers=given.layers,
        hidden=given.hidden,
        heads=heads,
        kv_heads=heads // 2,
    )
    settings = Settings(
        seed=given.seed,
        part=given.part,
        parts=given.parts,
        scored=given.scored,
        warmup=given.warmup,
        muon_rate=given.rate * Settings.muon_rate,
        adam_rate=given.rate * Settings.adam_rate,
    )
    run = Run(settings, shape, given.out, given.device)
    run.relate_tokens(given.tokenizer)
    resume = given.resume or (run.file if run.file.exists() else None)
    if resume:
        run.load(resume)
    size = sum(weight.numel() for weight in run.network.parameters())
    print(f"{size / 1e6:.2f} M parameters, {run.tokens / 1e6:.2f} M tokens behind it", flush=True)
    plan = [
        (int(length), float(millions)) for length, millions in (p.split(":") for p in given.plan)
    ]
    run.stop_on_signals()
    train(
        run,
        given.data,
        plan,
        int(given.decay),
        every=given.save_every,
        report=given.report,
        wait=given.wait,
    )


if __name__ == "__main__":
    main()
