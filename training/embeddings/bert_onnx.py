"""Writes a BERT encoder as an ONNX graph, from its safetensors weights and without torch.

Two kinds of the same graph: ``int8=False`` keeps every weight as float32 (the reference to measure
against); ``int8=True`` stores matrices and embedding tables as 8-bit integers:

* matrices: ``MatMulNBits`` of onnxruntime, 8 bits, one scale for 64 weights, symmetric. The engine
  quantises activations for each 64 values as well, so that a text's vector does not depend on the
  texts that share its batch. (``quantize_dynamic`` takes one scale for the whole batch.)
* tables: int8 rows with one scale for each row; only the rows looked up are turned into floats.

Shapes: inputs ``[batch, sequence]`` int64; output ``last_hidden_state [batch, sequence, hidden]``.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first with Gelu; onnxruntime has it since 1.17
IR_VERSION = 9
BLOCK = 64  # weights that share a scale
EPSILON = 1e-12
DTYPES = {"F32": "<f4", "I64": "<i8"}

Array = NDArray[Any]


def read_safetensors(path: Path) -> dict[str, Array]:
    """Every tensor of the file by its name. The format: a length, a JSON header, raw bytes."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(
            raw,
            dtype=DTYPES[entry["dtype"]],
            count=int(np.prod(entry["shape"])),
            offset=8 + size + entry["data_offsets"][0],
        ).reshape(entry["shape"])
        for name, entry in sorted(header.items())
    }


class GraphWriter:
    """Collects nodes and constants; names are counted, so equal weights give equal bytes."""

    def __init__(self, *, int8: bool) -> None:
        self.int8 = int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Array | np.generic) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, name: str, value: Array | np.generic) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        return self.ops(kind, inputs, 1, **attributes)[0]

    def ops(self, kind: str, inputs: list[str], outputs: int, **attributes: Any) -> list[str]:
        number = len(self.nodes)
        names = [f"{kind}_{number}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, inputs, names, name=f"{kind}_{number}", **attributes)
        )
        return names

    def table(self, name: str, weight: Array, ids: str) -> str:
        """Rows of an embedding table."""
        if not self.int8:
            return self.op("Gather", [self.constant(name, weight), ids])
        scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True) / 127, 1e-12)
        rows = np.rint(weight / scale).astype(np.int8)
        picked = self.op("Gather", [self.constant(f"{name}.int8", rows), ids])
        scales = self.op("Gather", [self.constant(f"{name}.scale", scale.astype("f4")), ids])
        return self.op("Mul", [self.op("Cast", [picked], to=TensorProto.FLOAT), scales])

    def linear(self, name: str, weight: Array, bias: Array, x: str) -> str:
        """``x @ weight.T + bias``; weight is ``[out, in]`` as torch keeps it."""
        product = self._nbits(name, weight, x) if self.int8 else self._float(name, weight, x)
        return self.op("Add", [product, self.constant(f"{name}.bias", bias)])

    def _float(self, name: str, weight: Array, x: str) -> str:
        return self.op("MatMul", [x, self.constant(f"{name}.weight", weight.T)])

    def _nbits(self, name: str, weight: Array, x: str) -> str:
        rows, columns = weight.shape
        blocks = weight.reshape(rows, columns // BLOCK, BLOCK)
        scale = np.maximum(np.abs(blocks).max(axis=-1) / 127, 1e-12)
        levels = (np.rint(blocks / scale[..., None]) + 128).astype(np.uint8)  # 128 stands for 0
        return self.op(
            "MatMulNBits",
            [
                x,
                self.constant(f"{name}.int8", levels),
                self.constant(f"{name}.scale", scale.astype("f4")),
            ],
            domain="com.microsoft",
            K=columns,
            N=rows,
            bits=8,
            block_size=BLOCK,
            accuracy_level=4,
        )

    def norm(self, name: str, weights: dict[str, Array], x: str) -> str:
        gain = self.constant(f"{name}.gain", weights[f"{name}.weight"])
        shift = self.constant(f"{name}.shift", weights[f"{name}.bias"])
        return self.op("LayerNormalization", [x, gain, shift], axis=-1, epsilon=EPSILON)


def _embed(graph: GraphWriter, weights: dict[str, Array]) -> str:
    one = graph.scalar("one", np.int64(1))
    zero = graph.scalar("zero", np.int64(0))
    first_axis = graph.constant("first_axis", np.array([0], np.int64))
    length = graph.op("Gather", [graph.op("Shape", ["input_ids"]), one])
    positions = graph.op("Unsqueeze", [graph.op("Range", [zero, length, one]), first_axis])
    sources = (
        ("word", "input_ids"),
        ("token_type", "token_type_ids"),
        ("position", positions),
    )
    parts = [
        graph.table(name, weights[f"embeddings.{name}_embeddings.weight"], ids)
        for name, ids in sources
    ]
    total = graph.op("Add", [graph.op("Add", parts[:2]), parts[2]])
    return graph.norm("embeddings.LayerNorm", weights, total)


def _layer(graph: GraphWriter, weights: dict[str, Array], prefix: str, x: str, heads: int) -> str:
    def joined(kind: str) -> Array:
        names = ("query", "key", "value")
        return np.concatenate([weights[f"{prefix}.attention.self.{n}.{kind}"] for n in names])

    def dense(name: str, value: str) -> str:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return graph.linear(name, weight, bias, value)

    projected = graph.linear(f"{prefix}.qkv", joined("weight"), joined("bias"), x)
    query, key, value = graph.ops("Split", [projected], 3, axis=-1, num_outputs=3)
    attended = graph.op(
        "MultiHeadAttention",
        [query, key, value, "", "key_mask"],
        domain="com.microsoft",
        num_heads=heads,
    )
    attended = dense(f"{prefix}.attention.output.dense", attended)
    x = graph.norm(f"{prefix}.attention.output.LayerNorm", weights, graph.op("Add", [attended, x]))
    inner = graph.op("Gelu", [dense(f"{prefix}.intermediate.dense", x)])
    inner = dense(f"{prefix}.output.dense", inner)
    return graph.norm(f"{prefix}.output.LayerNorm", weights, graph.op("Add", [inner, x]))


def bert_model(weights: dict[str, Array], *, layers: int, heads: int, int8: bool) -> bytes:
    """The serialised model; the same weights give the same bytes with the same onnx package."""
    graph = GraphWriter(int8=int8)
    graph.nodes.append(
        helper.make_node("Cast", ["attention_mask"], ["key_mask"], to=TensorProto.INT32)
    )
    x = _embed(graph, weights)
    for number in range(layers):
        x = _layer(graph, weights, f"encoder.layer.{number}", x, heads)
    graph.nodes[-1].output[0] = "last_hidden_state"
    hidden = weights["embeddings.LayerNorm.weight"].shape[0]
    shape = ["batch", "sequence"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, shape)
                for name in ("input_ids", "attention_mask", "token_type_ids")
            ],
            [
                helper.make_tensor_value_info(
                    "last_hidden_state", TensorProto.FLOAT, [*shape, hidden]
                )
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=IR_VERSION,
        producer_name="nearfar training/embeddings",
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data
