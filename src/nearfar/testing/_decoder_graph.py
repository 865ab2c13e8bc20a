"""The ONNX graph of a Qwen2-like decoder with random weights.

The operators and the names are those that onnxruntime-genai's own model builder writes, so what
holds for these graphs (speed, rewinding, slicing) holds for converted models.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Quantization = Literal["int8", "int4"]

_BLOCK = 32  # weights that share one scale
_EPSILON = 1e-6
_ROPE_BASE = 10_000.0
_BITS: dict[str, int] = {"int8": 8, "int4": 4}
_OPSET, _IR_VERSION = 21, 10  # read by onnxruntime 1.24 and later


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """The sizes of a decoder; ``hidden = heads * head_size``."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab_size: int
    context_length: int

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """How many weights, without biases and norms."""
        attention = self.hidden * (self.hidden + 2 * self.kv_heads * self.head_size + self.hidden)
        per_layer = attention + 3 * self.hidden * self.intermediate
        return self.layers * per_layer + 2 * self.vocab_size * self.hidden


class DecoderGraph:
    """Builds the graph node by node; ``save`` writes model.onnx and model.onnx.data."""

    def __init__(
        self,
        shape: DecoderShape,
        *,
        seed: int,
        scale: float,
        quantization: Quantization | None,
        prune_lm_head: bool,
    ) -> None:
        self._shape = shape
        self._scale = scale
        self._quantization = quantization
        self._prune = prune_lm_head
        self._rng = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def save(self, folder: Path) -> None:
        import onnx

        data = folder / "model.onnx.data"
        data.unlink(missing_ok=True)  # onnx appends to a file that is there
        onnx.save_model(
            self._model(),
            folder / "model.onnx",
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=data.name,
            size_threshold=256,
        )

    # -- pieces ---------------------------------------------------------------------------------

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        from onnx import helper

        contrib = {"GroupQueryAttention", "SkipSimplifiedLayerNormalization", "MatMulNBits"}
        domain = "com.microsoft" if kind in contrib else ""
        name = f"{outputs[0]}/{kind}"
        self._nodes.append(
            helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes)
        )

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._tensors.append(numpy_helper.from_array(array, name))
        return name

    def _ones(self, name: str, size: int) -> str:
        return self._constant(name, np.ones(size, np.float32))

    def _normal(self, rows: int, columns: int, deviation: float) -> NDArray[np.float32]:
        weights = self._rng.standard_normal((rows, columns), dtype=np.float32)
        weights *= np.float32(deviation)
        return weights

    def _linear(self, source: str, name: str, size_in: int, size_out: int) -> str:
        """``source @ W``, where W's entries deviate by scale / sqrt(size_in)."""
        target = f"/{name}/output"
        deviation = self._scale / np.sqrt(size_in)
        if self._quantization is None:
            weight = self._constant(f"{name}.weight", self._normal(size_in, size_out, deviation))
            self._add("MatMul", [source, weight], [target])
            return target
        bits = _BITS[self._quantization]
        blocks = -(-size_in // _BLOCK)
        # Uniform integers instead of rounded normals: as random, and made in a tenth of the time.
        packed = self._rng.integers(
            0, 256, (size_out, blocks, _BLOCK * bits // 8), np.uint8, endpoint=False
        )
        step = deviation / (2**bits / np.sqrt(12.0))
        weight = self._constant(f"{name}.weight_Q{bits}", packed)
        scales = self._constant(
            f"{name}.weight_scales", np.full((size_out, blocks), step, np.float32)
        )
        self._add(
            "MatMulNBits",
            [source, weight, scales],
            [target],
            K=size_in,
            N=size_out,
            accuracy_level=4,
            bits=bits,
            block_size=_BLOCK,
        )
        return target

    def _skip_norm(self, residual: str, branch: str, name: str, *, last: bool) -> tuple[str, str]:
        """``norm(residual + branch)`` and, unless it is the last one, the sum itself."""
        normed, total = f"/{name}/output_0", "" if last else f"/{name}/output_3"
        self._add(
            "SkipSimplifiedLayerNormalization",
            [residual, branch, self._ones(f"{name}.weight", self._shape.hidden)],
            [normed] if last else [normed, "", "", total],
            epsilon=_EPSILON,
        )
        return normed, total

    # -- the graph ------------------------------------------------------------------------------

    def _lengths(self) -> tuple[str, str]:
        """Last position of each row and the total length, both from the attention mask."""
        one = self._constant("one", np.array([1], np.int64))
        self._add("ReduceSum", ["attention_mask", one], ["/mask/sum"], keepdims=0)
        self._add("Sub", ["/mask/sum", one], ["/mask/last"])
        self._add("Cast", ["/mask/last"], ["/mask/last_int32"], to=6)
        self._add("Shape", ["attention_mask"], ["/mask/shape"])
        axis = self._constant("axis", np.array(1, np.int64))
        self._add("Gather", ["/mask/shape", axis], ["/mask/total"], axis=0)
        self._add("Cast", ["/mask/total"], ["/mask/total_int32"], to=6)
        return "/mask/last_int32", "/mask/total_int32"

    def _rotary(self) -> tuple[str, str]:
        half = self._shape.head_size // 2
        frequency = _ROPE_BASE ** (-np.arange(half) / half)
        angles = np.outer(np.arange(self._shape.context_length), frequency)
        return (
            self._constant("cos_cache", np.cos(angles).astype(np.float32)),
            self._constant("sin_cache", np.sin(angles).astype(np.float32)),
        )

    def _attention(self, layer: int, source: str, lengths: tuple[str, str]) -> str:
        shape, name = self._shape, f"model.layers.{layer}.attn"
        width = shape.hidden + 2 * shape.kv_heads * shape.head_size
        product = self._linear(source, f"{name}.qkv_proj", shape.hidden, width)
        bias = self._constant(f"{name}.qkv_proj.bias", self._normal(1, width, 0.1 * self._scale)[0])
        self._add("Add", [product, bias], [f"/{name}/qkv"])
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        self._add(
            "GroupQueryAttention",
            [f"/{name}/qkv", "", "", *past, *lengths, "cos_cache", "sin_cache"],
            [f"/{name}/attended", *present],
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            scale=shape.head_size**-0.5,
            do_rotary=1,
            rotary_interleaved=0,
        )
        return self._linear(f"/{name}/attended", f"{name}.o_proj", shape.hidden, shape.hidden)

    def _mlp(self, layer: int, source: str) -> str:
        shape, name = self._shape, f"model.layers.{layer}.mlp"
        gate = self._linear(source, f"{name}.gate_proj", shape.hidden, shape.intermediate)
        up = self._linear(source, f"{name}.up_proj", shape.hidden, shape.intermediate)
        self._add("Sigmoid", [gate], [f"/{name}/sigmoid"])
        self._add("Mul", [gate, f"/{name}/sigmoid"], [f"/{name}/silu"])
        self._add("Mul", [f"/{name}/silu", up], [f"/{name}/gated"])
        return self._linear(f"/{name}/gated", f"{name}.down_proj", shape.intermediate, shape.hidden)

    def _last_position(self, source: str) -> str:
        """Only the last token's state, so that a prefill computes one row of logits."""
        last = self._constant("last_index", np.array([-1], np.int64))
        self._add("Gather", [source, last], ["/lm_head/last"], axis=1)
        return "/lm_head/last"

    def _model(self) -> Any:
        from onnx import helper

        shape = self._shape
        lengths = self._lengths()
        self._rotary()
        table = self._constant(
            "model.embed_tokens.weight", self._normal(shape.vocab_size, shape.hidden, 1.0)
        )
        self._add("Gather", [table, "input_ids"], ["/embed/output"])
        first = self._ones("model.layers.0.input_layernorm.weight", shape.hidden)
        self._add(
            "SimplifiedLayerNormalization",
            ["/embed/output", first],
            ["/model.layers.0.input_layernorm/output_0"],
            epsilon=_EPSILON,
            axis=-1,
            stash_type=1,
        )
        normed, total = "/model.layers.0.input_layernorm/output_0", "/embed/output"
        for layer in range(shape.layers):
            branch = self._attention(layer, normed, lengths)
            name = f"model.layers.{layer}.post_attention_layernorm"
            normed, total = self._skip_norm(total, branch, name, last=False)
            branch = self._mlp(layer, normed)
            last = layer == shape.layers - 1
            name = "model.norm" if last else f"model.layers.{layer + 1}.input_layernorm"
            normed, total = self._skip_norm(total, branch, name, last=last)
        if self._prune:
            normed = self._last_position(normed)
        logits = self._linear(normed, "lm_head", shape.hidden, shape.vocab_size)
        self._add("Identity", [logits], ["logits"])
        inputs, outputs = self._interface()
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, self._tensors)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="nearfar"
        )

    def _interface(self) -> tuple[list[Any], list[Any]]:
        from onnx import TensorProto, helper

        shape = self._shape
        batch, length, total = "batch_size", "sequence_length", "total_sequence_length"
        integer, real = TensorProto.INT64, TensorProto.FLOAT
        inputs = [
            helper.make_tensor_value_info("input_ids", integer, [batch, length]),
            helper.make_tensor_value_info("attention_mask", integer, [batch, total]),
        ]
        rows: str | int = 1 if self._prune else length
        logits = [batch, rows, shape.vocab_size]
        outputs = [helper.make_tensor_value_info("logits", real, logits)]
        for layer in range(shape.layers):
            for part in ("key", "value"):
                past: list[str | int] = [
                    batch,
                    shape.kv_heads,
                    "past_sequence_length",
                    shape.head_size,
                ]
                present: list[str | int] = [batch, shape.kv_heads, total, shape.head_size]
                inputs.append(
                    helper.make_tensor_value_info(f"past_key_values.{layer}.{part}", real, past)
                )
                outputs.append(
                    helper.make_tensor_value_info(f"present.{layer}.{part}", real, present)
                )
        return inputs, outputs
