"""The network: Qwen2's layout in plain torch, so that one graph can be compiled for the CPU.

Its parameters have the names of transformers' ``Qwen2ForCausalLM``; ``tests/training`` holds the
two to the same logits. Rows are packed: tokens attend only to tokens of their own document.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """What decides the size of the model."""

    vocab: int = 4096
    width: int = 256
    layers: int = 5
    heads: int = 8
    kv_heads: int = 4
    hidden: int = 704  # of the feed-forward part
    window: int = 2048
    theta: float = 10000.0

    @property
    def head_size(self) -> int:
        return self.width // self.heads

    def config(self) -> dict[str, Any]:
        """As transformers' Qwen2Config is given it."""
        return {
            "vocab_size": self.vocab,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "max_position_embeddings": self.window,
            "rope_theta": self.theta,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
        }

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (wide * scale).to(x.dtype) * self.weight.to(x.dtype)


def _linear(x: Tensor, layer: nn.Linear) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    left, right = x[..., :half], x[..., half:]
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head_size
        self.q_proj = nn.Linear(shape.width, shape.width)
        self.k_proj = nn.Linear(shape.width, kv)
        self.v_proj = nn.Linear(shape.width, kv)
        self.o_proj = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        rows, length, _ = x.shape
        s = self.shape

        def heads(y: Tensor, n: int) -> Tensor:
            return y.view(rows, length, n, s.head_size).transpose(1, 2)

        q = _turned(heads(_linear(x, self.q_proj), s.heads), cos, sin)
        k = _turned(heads(_linear(x, self.k_proj), s.kv_heads), cos, sin)
        v = heads(_linear(x, self.v_proj), s.kv_heads)
        each = s.heads // s.kv_heads
        k, v = k.repeat_interleave(each, 1), v.repeat_interleave(each, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return _linear(mixed.transpose(1, 2).reshape(rows, length, s.width), self.o_proj)


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gated = F.silu(_linear(x, self.gate_proj)) * _linear(x, self.up_proj)
        return _linear(gated, self.down_proj)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.width)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.width)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width)


class Network(nn.Module):
    """Tokens in, states out; ``loss`` scores chosen places only, since most need no score."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Body(shape)

    def states(self, ids: Tensor, documents: Tensor, places: Tensor, dtype: torch.dtype) -> Tensor:
        """Last states; ``documents`` numbers each row's documents, ``places`` counts in each."""
        half = self.shape.head_size // 2
        rates = self.shape.theta ** (-torch.arange(half, device=ids.device) / half)
        angles = places.float()[:, None, :, None] * rates
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        length = ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        mask = (documents[:, None, :, None] == documents[:, None, None, :]) & causal
        x = F.embedding(ids, self.model.embed_tokens.weight).to(dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return self.model.norm(x)

    def loss(
        self,
        batch: tuple[Tensor, Tensor, Tensor],
        chosen: Tensor,
        targets: Tensor,
        weights: Tensor,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Weighted mean loss, and each chosen place's own; ``chosen`` are places in the batch."""
        states = self.states(*batch, dtype).flatten(0, 1)[chosen]
        logits = F.linear(states, self.model.embed_tokens.weight.to(dtype)).float()
        each = F.cross_entropy(logits, targets, reduction="none")
        return (each * weights).sum() / weights.sum(), each.detach()

    def start(self, seed: int) -> None:
        """Weights to begin with: the stream starts as the embeddings, to which layers add little."""
        torch.manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                nn.init.zeros_(weight) if name.endswith("bias") else nn.init.ones_(weight)
            elif "o_proj" in name or "down_proj" in name:
                nn.init.normal_(weight, std=0.02 * weight.shape[1] ** -0.5)
            else:
                nn.init.normal_(weight, std=0.15 if "embed" in name else weight.shape[1] ** -0.5)
        nn.init.constant_(self.model.norm.weight, 0.1)
        for layer, key_head, back in ((0, 0, (1, 2)), (0, 1, (1, 3)), (1, 0, (1, 2))):
            if layer < self.shape.layers and key_head < self.shape.kv_heads:
                _look_back(self.model.layers[layer].self_attn, key_head, back)


@torch.no_grad()
def relate(embeddings: Tensor, tokens: list[str], seed: int) -> None:
    """Let tokens that are one word begin as one vector: with a space before or not, capital or not.

    What is copied has a space before it in a sentence and none after a quotation mark. Learning which
    two tokens belong together takes longer than all the rest, so they begin alike, and differ by two
    directions that all tokens share.
    """
    generator = torch.Generator().manual_seed(seed)
    size = float(embeddings.std())
    spaced, capital = torch.randn(2, embeddings.shape[1], generator=generator) * size
    first: dict[str, int] = {}
    for number, token in enumerate(tokens):
        bare = token.removeprefix("\u0120")
        if not bare.isalpha():
            continue
        same = first.setdefault(bare.lower(), number)
        base = embeddings[same].clone() if same != number else embeddings[number].clone()
        if same == number:
            continue
        other = tokens[same]
        base += 0.7 * spaced * ((token != bare) - other.startswith("\u0120"))
        base += 0.7 * capital * (bare[0].isupper() - other.lstrip("\u0120")[0].isupper())
        embeddings[number] = base + 0.2 * embeddings[number]


@torch.no_grad()
def _look_back(attention: Attention, key_head: int, back: tuple[int, ...]) -> None:
    """Let the heads of a key head begin by looking at the tokens ``back`` places before.

    Copying needs heads that know what came before a token; by chance it takes millions of tokens
    until there are any. The biases, turned as positions are, say where to look.
    """
    s = attention.shape
    size, half, strength = s.head_size, s.head_size // 2, 5.0
    fast = min(6, half)  # the pairs that turn fast tell neighbours apart
    rates = s.theta ** (-torch.arange(half) / half)
    rows = slice(key_head * size, (key_head + 1) * size)
    attention.k_proj.weight[rows] *= 0.1
    attention.k_proj.bias[rows] = 0.0
    attention.k_proj.bias[rows.start : rows.start + fast] = strength
    each = s.heads // s.kv_heads
    for head, distance in zip(range(key_head * each, (key_head + 1) * each), back, strict=False):
        start = head * size
        attention.q_proj.weight[start : start + size] *= 0.1
        angles = -distance * rates[:fast]
        attention.q_proj.bias[start : start + fast] = strength * angles.cos()
        attention.q_proj.bias[start + half : start + half + fast] = strength * angles.sin()
