"""A network as an ONNX graph, built node by node, for ONNX Runtime, which on CPUs needs half of torch's time.

Built in memory from weights that were read as safetensors: nothing is exported, traced or stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fer_core.threads import network_threads

OPSET: Final = 17
"""Of the operators (ONNX 1.12): the first with LayerNormalization."""
IR_VERSION: Final = 8
"""Version of the file format; newer writers use newer ones, which older runtimes refuse."""

RUNTIME: Final = "com.microsoft"
"""Domain of the operators that ONNX Runtime adds."""

Attributes = Mapping[str, int | float | str | Sequence[int]]
"""Of a node, by their names."""
NOTHING: Final[Attributes] = MappingProxyType({})


class Graph:
    """Grows by one node at a time; values are referred to by their names."""

    FLOAT: Final[int] = TensorProto.FLOAT
    """ONNX's name for float32."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def constant(self, array: NDArray[Any]) -> str:
        """An array that is part of the graph. ValueError: a number of it is not finite, such as a product of weights that are."""
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("products of weights that are not finite")
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], attributes: Attributes = NOTHING, domain: str = "") -> str:
        """One operator with one output, whose name is returned. domain: empty for ONNX's own, `RUNTIME` for ONNX Runtime's."""
        name = f"v{len(self._nodes)}"
        made = helper.make_node(operator, list(inputs), [name], domain=domain)
        made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(made)
        return name

    def convolution(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32], stride: int = 1) -> str:
        """(B, I, H, W) -> (B, O, H / stride, W / stride); weight (O, I, k, k), filled up with zeros around."""
        size = weight.shape[2]
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        return self.node("Conv", [x, self.constant(weight), self.constant(bias)], attributes)

    def relu(self, x: str) -> str:
        """Nothing below zero."""
        return self.node("Relu", [x])

    def add(self, x: str, y: str) -> str:
        """Sum, broadcast."""
        return self.node("Add", [x, y])

    def doubled(self, x: str) -> str:
        """(B, C, H, W) -> (B, C, 2 H, 2 W): every value four times."""
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", [x, "", self.constant(np.array([1, 1, 2, 2], np.float32))], how)

    def linear(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """(..., I) -> (..., O); weight (O, I)."""
        product = self.node("MatMul", [x, self.constant(weight.T)])
        return product if bias is None else self.add(product, self.constant(bias))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """A 0 keeps the length of that axis, a -1 takes what is left."""
        return self.node("Reshape", [x, self.constant(np.array(shape, np.int64))])

    def permute(self, x: str, order: Sequence[int]) -> str:
        """Axes in another order."""
        return self.node("Transpose", [x], {"perm": list(order)})

    def model(self, shape: Sequence[int | str], outputs: Sequence[str], kind: type[np.float32 | np.uint8] = np.float32) -> "Model":
        """The finished graph. shape: of the one input, `x`; names stand for lengths that vary. kind: of its numbers."""
        given = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), list(shape))
        told = [helper.make_tensor_value_info(name, self.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "ferflow", [given], told, self._weights)
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(RUNTIME, 1)]
        model = helper.make_model(graph, opset_imports=sets, ir_version=IR_VERSION)
        return Model(model.SerializeToString(), tuple(outputs))


@dataclass(frozen=True, slots=True)
class Model:
    """A graph in ONNX's own format."""

    content: bytes
    outputs: tuple[str, ...]


class Session:
    """A graph on this machine's CPU, with as many threads as a worker's network may use."""

    def __init__(self, model: Model, name: str = "x") -> None:
        """name: of the input."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = network_threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a spinning thread would take time from other workers
        options.log_severity_level = 3  # errors; they come as exceptions, too
        self._session = onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
        self._outputs, self._input = list(model.outputs), name

    def __call__(self, x: NDArray[np.float32] | NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The outputs for one input."""
        return cast("list[NDArray[np.float32]]", self._session.run(self._outputs, {self._input: x}))
