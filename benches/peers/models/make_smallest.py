#!/usr/bin/env python3
"""Writes smallest.onnx: one convolution of one weight. What a program holds when it runs this, it holds with any model.

make_smallest.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def main():
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 8, 8]) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "smallest", ports[:1], ports[1:], [weight])
    # As old as the others are: every engine reads it.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, Path(sys.argv[1]) / "smallest.onnx")


main()
