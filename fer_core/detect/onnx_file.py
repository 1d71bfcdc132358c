"""ONNX files of other detectors, for images of any size."""

from pathlib import Path
from typing import Any


def with_any_size(file: Path) -> bytes:
    """The network of a file with a free height and width: exported files often fix 640x640, though nothing in the graph needs it.

    ValueError where its weights are in other files, which are not read. onnx raises exceptions of many kinds for what is no network.
    """
    import onnx

    network: Any = onnx.load_model(str(file), load_external_data=False)
    if any(weight.data_location == onnx.TensorProto.EXTERNAL for weight in network.graph.initializer):
        raise ValueError("the weights are in other files")
    for axis, name in ((2, "height"), (3, "width")):
        network.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in network.graph.output:
        shape = output.type.tensor_type.shape.dim
        if len(shape) >= 2:
            shape[len(shape) - 2].dim_param = f"cells_{output.name}"
    del network.graph.value_info[:]  # shapes of the old size
    return bytes(network.SerializeToString())
