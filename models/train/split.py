"""Splits restore.onnx for caches: it also gives its deep feature, and restore_shallow.onnx is the part around that. The answers stay what they were.

    python models/train/split.py --bundle models/street-float
"""
import argparse
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.utils import Extractor

from export import example

# What `mid_out` of nets.Restore gives.
DEEP = "/mid_out/Add_output_0"


def named(model, shape):
    """The deep feature as an output with a name of its own."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == DEEP:
                    names[i] = "deep"
    model.graph.output.append(helper.make_tensor_value_info("deep", TensorProto.FLOAT, shape))
    return model


def values():
    x, given = example(0)
    return dict(zip(["x", "sigma", "cond", "mask", "held", "age", "present"], (v.numpy() for v in x + given)))


def shape_of(path):
    """The deep feature's, found by a run, since it is not in the file."""
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info(DEEP, TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(model.SerializeToString()).run([DEEP], values())[0].shape


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bundle", default="models/street-float")
    a = p.parse_args()
    path, shallow_path = (os.path.join(a.bundle, name) for name in ("restore.onnx", "restore_shallow.onnx"))
    model = onnx.load(path)
    if any(o.name == "deep" for o in model.graph.output):
        p.error(f"{path} is split already: export it anew")
    before = onnxruntime.InferenceSession(path).run(["logits"], values())[0]
    model = named(model, shape_of(path))
    given = [i.name for i in model.graph.input]
    shallow = Extractor(model).extract_model(given + ["deep"], ["logits"])
    for m, file in ((model, path), (shallow, shallow_path)):
        onnx.checker.check_model(m)
        onnx.save(m, file)
    whole, deep = onnxruntime.InferenceSession(path).run(["logits", "deep"], values())
    again = onnxruntime.InferenceSession(shallow_path).run(["logits"], {**values(), "deep": deep})[0]
    print(f"deep {list(deep.shape)}; {shallow_path}: {os.path.getsize(shallow_path) / 1e6:.2f} MB")
    print(f"logits differ by {np.abs(whole - before).max():.2g} from those before, the shallow part's by {np.abs(again - whole).max():.2g}")


if __name__ == "__main__":
    main()
