"""The recurrent part of a language model as an ONNX graph, in float32 or with weights of 8 bits.

Inputs   ids (T, B) int64, places (W,) int64: which of the T * B outputs are wanted; the states before, (1, B, H) each
Outputs  vectors (W, D) float32; the states after

The graph is written by hand: a look-up, a node for each recurrent layer, a projection. With 8 bits a layer is
onnxruntime's DynamicQuantizeLSTM: weights are rounded to a scale for each of their rows, inputs and states at each call
to the range that they have there; gates and cells stay float32.
"""

# V = dictionary size, E = embedding size, H = hidden size, G = gates (LSTM 4, GRU 3)

from typing import TYPE_CHECKING, Literal

import numpy as np

from charlm.errors import ModelFileError
from charlm.serialization.state import LanguageModelState

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

OnnxPrecision = Literal["fp32", "int8"]
_OPSET, _IR_VERSION = 17, 8
_MICROSOFT = "com.microsoft"
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""Where ONNX's gates (LSTM i, o, f, c; GRU z, r, h) are in torch's order (i, f, g, o; r, z, n)."""
_LARGEST = 63
"""Of a rounded weight: processors without VNNI add two products in 16 bits, where larger ones would overflow."""


def check_exportable(state: LanguageModelState, precision: OnnxPrecision) -> None:
    """Raise ModelFileError where there is no such graph of the model, with what there is instead."""
    config, unit = state.config, state.dictionary.unit_of
    if not unit.items_are_characters:
        raise ModelFileError(
            f"--format onnx is for models of characters and bytes, this one reads {unit.plural}, which its tokenizer "
            f"makes; use --format safetensors"
        )
    if config.projection:
        raise ModelFileError(
            f"--format onnx has no LSTM with a projected state, and this one has projection={config.projection}; "
            f"use --format safetensors"
        )
    if precision == "int8" and config.recurrent_type != "LSTM":
        raise ModelFileError(
            f"--int8 is for an LSTM, this model is a {config.recurrent_type}; export it without --int8"
        )


def onnx_graph(state: LanguageModelState, precision: OnnxPrecision) -> bytes:
    """The serialized graph of one direction; equal models give equal bytes. Raises ModelFileError as above."""
    from onnx import helper

    check_exportable(state, precision)
    graph = _Graph(state)
    graph.add("Gather", graph.constant("embedding", graph.tensor("encoder.weight")), "ids", to="layer_0")
    for number in range(state.config.nlayers):
        graph.add_layer(number, is_rounded=precision == "int8")
    width = state.config.layer_sizes[-1]
    rows = graph.constant("rows", np.array([-1, width]))
    graph.add("Reshape", f"layer_{state.config.nlayers}", rows, to="outputs")  # (T * B, H)
    graph.add("Gather", "outputs", "places", to="states" if state.config.nout else "vectors")
    if state.config.nout:
        projection = [graph.constant(name, graph.tensor(name)) for name in ("proj.weight", "proj.bias")]
        graph.add("Gemm", "states", *projection, to="vectors", transB=1)
    domains = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(
        graph.proto(), opset_imports=domains, ir_version=_IR_VERSION, producer_name="charlm", producer_version=""
    )
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Nodes, constants and states, as they come."""

    def __init__(self, state: LanguageModelState) -> None:
        self._state = state
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._states: list[tuple[str, int]] = []

    def tensor(self, name: str) -> np.ndarray:
        return np.asarray(self._state.tensors[name].float().numpy())

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, to: str | list[str], **attributes: int) -> None:
        from onnx import helper

        domain = _MICROSOFT if kind.startswith("Dynamic") else ""
        node = helper.make_node(kind, inputs, [to] if isinstance(to, str) else to, domain=domain)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self._nodes.append(node)

    def add_layer(self, number: int, *, is_rounded: bool) -> None:
        """The recurrent layer from `layer_n` (T, B, E or H) to `layer_n+1` (T, B, H)."""
        config = self._state.config
        size = config.layer_sizes[number]
        names = ["state", "cell"] if config.recurrent_type == "LSTM" else ["state"]
        before = [f"{name}_{number}" for name in names]
        self._states += [(name, size) for name in before]
        weight, recurrent, bias = self._weights(number)
        others = [self.constant(f"bias_{number}", bias[None]), "", *before]
        kind: str = config.recurrent_type
        if is_rounded:
            kind = f"DynamicQuantize{kind}"
            (first, *first_scale), (second, *second_scale) = (
                self._rounded(f"weight_{number}", weight),
                self._rounded(f"recurrent_{number}", recurrent),
            )
            inputs = [first, second, *others, "", *first_scale, *second_scale]
        else:
            weights = [(f"weight_{number}", weight), (f"recurrent_{number}", recurrent)]
            inputs = [*(self.constant(name, value[None]) for name, value in weights), *others]
        linear = {"linear_before_reset": 1} if kind == "GRU" else {}
        outputs = [f"all_{number}", *(f"{name}_after" for name in before)]
        self.add(kind, f"layer_{number}", *inputs, to=outputs, hidden_size=size, **linear)
        self.add(
            "Squeeze", f"all_{number}", self.constant(f"directions_{number}", np.array([1])), to=f"layer_{number + 1}"
        )

    def _weights(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those of the input (GH, E or H) and of the state (GH, H), and both biases (2GH,), with ONNX's gates."""
        prefix, suffix = (f"rnn.layers.{number}.", "_l0") if self._state.config.is_stack else ("rnn.", f"_l{number}")
        order = list(_GATES[self._state.config.recurrent_type])
        weight, recurrent, *biases = (
            np.concatenate([np.split(tensor, len(order))[gate] for gate in order])
            for tensor in (
                self.tensor(f"{prefix}{name}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
        )
        return weight, recurrent, np.concatenate(biases)

    def _rounded(self, name: str, weights: np.ndarray) -> list[str]:
        """The names of 8-bit weights (1, E or H, GH), their scales (1, GH), and their zeros, from (GH, E or H)."""
        scales = np.maximum(np.abs(weights).max(axis=1), np.finfo(np.float32).tiny) / _LARGEST
        rounded = np.rint(weights / scales[:, None]).astype(np.int8)
        return [
            self.constant(name, rounded.T[None]),
            self.constant(f"{name}_scale", scales[None].astype(np.float32)),
            self.constant(f"{name}_zero", np.zeros((1, len(scales)), np.int8)),
        ]

    def proto(self) -> "GraphProto":
        from onnx import TensorProto, helper

        info, config = helper.make_tensor_value_info, self._state.config
        width = config.nout or config.layer_sizes[-1]
        states = [info(name, TensorProto.FLOAT, [1, "texts", size]) for name, size in self._states]
        after = [info(f"{name}_after", TensorProto.FLOAT, [1, "texts", size]) for name, size in self._states]
        inputs = [info("ids", TensorProto.INT64, ["steps", "texts"]), info("places", TensorProto.INT64, ["words"])]
        vectors = info("vectors", TensorProto.FLOAT, ["words", width])
        return helper.make_graph(self._nodes, config.direction, [*inputs, *states], [vectors, *after], self._constants)
