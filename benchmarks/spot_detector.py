"""A small real detector as an ONNX graph: the brightest local maxima of a blurred red band, as boxes."""

from __future__ import annotations

import numpy as np


def spot_detector(edge_px: int, *, spots: int = 16, box_px: int = 12) -> bytes:
    """(n, 3, edge, edge) uint8 -> (n, spots, 6): left, top, right, bottom, score, class.

    Halved first, as a detector's stem does; two 5x5 blurs, a 9x9 maximum filter, the ``spots`` best
    maxima; boxes of ``box_px`` around them. Score: brightness.
    """
    import onnx
    from onnx import TensorProto, helper

    blur = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32) / 256
    constants = {
        "blur": blur[None, None],
        "scale": np.array([1 / 255], np.float32),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
        "flat": np.array([0, -1], np.int64),
        "k": np.array([spots], np.int64),
        "edge": np.array([edge_px // 2], np.int64),
        "half": np.array([box_px / 2], np.float32),
        "class": np.zeros((1, 1, 1), np.float32),
        "axes2": np.array([2], np.int64),
        "two": np.array([2], np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["tiles", "first", "second", "axis"], ["red8"]),
        helper.make_node("Cast", ["red8"], ["red"], to=TensorProto.FLOAT),
        helper.make_node("AveragePool", ["red"], ["half_red"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Mul", ["half_red", "scale"], ["level"]),
        helper.make_node("Conv", ["level", "blur"], ["once"], pads=[2, 2, 2, 2]),
        helper.make_node("Conv", ["once", "blur"], ["smooth"], pads=[2, 2, 2, 2]),
        helper.make_node("MaxPool", ["smooth"], ["most"], kernel_shape=[9, 9], pads=[4, 4, 4, 4]),
        helper.make_node("Equal", ["smooth", "most"], ["peak"]),
        helper.make_node("Cast", ["peak"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["smooth", "mask"], ["peaks"]),
        helper.make_node("Reshape", ["peaks", "flat"], ["row"]),
        helper.make_node("TopK", ["row", "k"], ["score", "at"], axis=1),
        helper.make_node("Div", ["at", "edge"], ["y8"]),
        helper.make_node("Mod", ["at", "edge"], ["x8"]),
        helper.make_node("Cast", ["y8"], ["y_half"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x8"], ["x_half"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["y_half", "two"], ["y"]),
        helper.make_node("Mul", ["x_half", "two"], ["x"]),
    ]
    for name, centre, change in (
        ("left", "x", "Sub"),
        ("top", "y", "Sub"),
        ("right", "x", "Add"),
        ("bottom", "y", "Add"),
    ):
        nodes += [
            helper.make_node(change, [centre, "half"], [f"{name}_free"]),
            helper.make_node("Clip", [f"{name}_free", "zero0", "limit0"], [f"{name}_in"]),
            helper.make_node("Unsqueeze", [f"{name}_in", "axes2"], [name]),
        ]
    constants |= {"zero0": np.array(0, np.float32), "limit0": np.array(edge_px, np.float32)}
    nodes += [
        helper.make_node("Unsqueeze", ["score", "axes2"], ["score3"]),
        helper.make_node("Mul", ["score3", "class"], ["class3"]),
        helper.make_node("Concat", ["left", "top", "right", "bottom", "score3", "class3"], ["boxes"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "spots",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["n", 3, edge_px, edge_px])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", spots, 6])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
