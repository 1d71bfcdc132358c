"""YuNet's outputs are read as OpenCV reads them: by a network of the same form with drawn weights, whose file both load."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_core.detect.yunet import YuNet
from fer_core.detect.yunet_network import KINDS, STRIDES, YuNetNetwork
from fer_core.errors import DetectorError

CHANNELS = dict(zip(KINDS, (1, 1, 4, 10), strict=True))


def network_file(file, seed=0, names=CHANNELS):
    """One convolution an output, from mean colours of a cell to its numbers: scores around a half, boxes of about two cells."""
    random, nodes, weights, outputs = np.random.default_rng(seed), [], [], []
    for stride in STRIDES:
        nodes.append(helper.make_node("AveragePool", ["input"], [f"mean_{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2))
        for kind, channels in names.items():
            name = f"{kind}_{stride}"
            weight = random.normal(0, 0.005, (channels, 3, 1, 1)).astype(np.float32)
            weights += [numpy_helper.from_array(weight, f"w_{name}"), numpy_helper.from_array(np.array([0, 2, 3, 1]), f"o_{name}")]
            weights.append(numpy_helper.from_array(np.array([1, -1, channels], np.int64), f"s_{name}"))
            nodes.append(helper.make_node("Conv", [f"mean_{stride}", f"w_{name}"], [f"c_{name}"], kernel_shape=[1, 1]))
            nodes.append(helper.make_node("Transpose", [f"c_{name}"], [f"t_{name}"], perm=[0, 2, 3, 1]))
            last = f"r_{name}" if kind in {"cls", "obj"} else name
            nodes.append(helper.make_node("Reshape", [f"t_{name}", f"s_{name}"], [last]))
            if last != name:
                nodes.append(helper.make_node("Sigmoid", [last], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, (640 // stride) ** 2, channels]))
    outputs.sort(key=lambda output: [f"{kind}_{stride}" for kind in names for stride in STRIDES].index(output.name))
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "drawn", [given], outputs, [weight for weight in weights if not weight.name.startswith("o_")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), str(file))
    return file


@pytest.mark.parametrize("shape", [(64, 64), (100, 170), (33, 31), (320, 200)])
def test_rows_are_those_of_opencv(tmp_path, shape):
    file, threshold = network_file(tmp_path / "yunet.onnx"), 0.55
    picture = np.random.default_rng(shape[0]).integers(0, 256, (*shape, 3), dtype=np.uint8)
    picture = cv2.resize(picture[::16, ::16], shape[::-1])  # broad patches: cells differ
    theirs = cv2.FaceDetectorYN.create(str(file), "", shape[::-1], threshold, 1.0, 100_000).detect(picture)[1]  # suppresses none
    ours = YuNetNetwork(file)(picture)
    ours = ours[ours[:, 14] >= threshold]
    assert theirs is not None
    assert len(ours) == len(theirs) > 3
    corners = np.concatenate([theirs[:, :2], theirs[:, :2] + theirs[:, 2:4], theirs[:, 4:]], axis=1)
    assert np.allclose(ours[np.argsort(ours[:, 14])], corners[np.argsort(corners[:, 14])], rtol=1e-4, atol=1e-2)


def test_every_cell_of_every_grid_has_a_row(tmp_path):
    network = YuNetNetwork(network_file(tmp_path / "yunet.onnx"))
    assert network(np.zeros((50, 90, 3), np.uint8)).shape == (8 * 12 + 4 * 6 + 2 * 3, 15)


def test_another_network_is_one_sentence(tmp_path):
    other = network_file(tmp_path / "other.onnx", names={"cls": 1, "bbox": 4})
    (tmp_path / "text.onnx").write_text("not a network")
    for file in (other, tmp_path / "text.onnx"):
        with pytest.raises(DetectorError, match=r"^not a YuNet file that ONNX Runtime can read: "):
            YuNet(file)


def test_no_file_that_a_model_names_is_read(tmp_path):
    """The weights of this one lie outside its folder."""
    (tmp_path / "in").mkdir()
    file = network_file(tmp_path / "in" / "yunet.onnx")
    model = onnx.load(str(file))
    weight = next(one for one in model.graph.initializer if one.name == "w_cls_8")
    (tmp_path / "secret").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret")
    file.write_bytes(model.SerializeToString())
    with pytest.raises(DetectorError, match=r"^not a YuNet file"):
        YuNet(file)
