"""Weights to start a training from: those of an exported bundle that still have a place of the same name and shape."""
import os

import numpy as np
import onnx
import torch
from onnx import numpy_helper


def initializers(path):
    """By torch's name. Those of group norms lost theirs in the export, and come in the order they run in."""
    found, norms = {}, []
    for tensor in onnx.load(path).graph.initializer:
        if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            continue
        value = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        if tensor.name.startswith(("onnx::Mul", "onnx::Add")):
            norms.append(value.flatten())
        found[tensor.name.removesuffix("_f16")] = value
    return found, norms


def start(net, bundle, name):
    """Copies them into `net`. -> how many tensors, of how many."""
    found, norms = initializers(os.path.join(bundle, f"{name}.onnx"))
    # The layers at half resolution are younger than the first bundle.
    own = net.state_dict()
    names = [k.removesuffix(".weight") for k in own if "norm" in k and k.endswith(".weight")]
    older = [k for k in names if not k.startswith("half")] if len(norms) < 2 * len(names) else names
    for norm, scale, shift in zip(older, norms[::2], norms[1::2]):
        found[norm + ".weight"], found[norm + ".bias"] = scale, shift
    fits = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    net.load_state_dict({**own, **fits})
    return len(fits), len(own)
