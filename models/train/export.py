"""Writes head.onnx and restore.onnx from a checkpoint's averaged weights, and checks them against torch in onnxruntime.

    python models/train/export.py --checkpoint CHECKPOINT_DIR/checkpoint.pt --out models/street-float
"""
import argparse
import os

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from data import HEIGHT, NCLASS, WIDTH
from nets import Head, Restore, blank, macs

OPSET = 17
GIVEN = ["cond", "mask", "held", "age", "present"]


def settle(model):
    """Shapes are static: each Shape becomes its value, and every constant an initializer."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in list(graph.value_info) + list(graph.input)}
    for n in list(model.graph.node):
        if n.op_type == "Shape" and all(shapes.get(n.input[0], [0])):
            value = numpy_helper.from_array(np.array(shapes[n.input[0]], np.int64), n.output[0])
        elif n.op_type == "Constant" and n.attribute[0].name == "value":
            value = n.attribute[0].t
            value.name = n.output[0]
        else:
            continue
        model.graph.initializer.append(value)
        model.graph.node.remove(n)
    return model


def store_half(model):
    """Keeps the large weights as float16, each behind a Cast to float32."""
    graph, casts = model.graph, []
    for t in list(graph.initializer):
        value = numpy_helper.to_array(t)
        if value.dtype != np.float32 or value.size < 1024:
            continue
        graph.initializer.remove(t)
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float16), t.name + "_f16"))
        casts.append(helper.make_node("Cast", [t.name + "_f16"], [t.name], name=t.name + "_cast", to=TensorProto.FLOAT))
    for i, c in enumerate(casts):
        graph.node.insert(i, c)
    return model


def write(net, path, inputs, names, outputs, half):
    torch.onnx.export(net, inputs, path, input_names=names, output_names=outputs, opset_version=OPSET, dynamo=False, do_constant_folding=True)
    model = settle(onnx.load(path))
    if half:
        model = store_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    ops = sorted({n.op_type for n in model.graph.node})
    print(f"{path}: {os.path.getsize(path) / 1e6:.2f} MB, {macs(net, *inputs) / 1e6:.1f} MMAC in convolutions and linear layers; ops {' '.join(ops)}")


def example(seed):
    """A frame with holes, of plausible values: (x, sigma), (cond, mask, held, age, present)."""
    rng = torch.Generator().manual_seed(seed)
    cls = torch.randint(0, NCLASS, (1, HEIGHT // 12, WIDTH // 16), generator=rng).repeat_interleave(12, 1).repeat_interleave(16, 2)
    mask = (torch.rand(1, 1, 4, 2, generator=rng) < 0.6).float().repeat_interleave(24, 2).repeat_interleave(64, 3)
    cond = torch.nn.functional.one_hot(cls, NCLASS).permute(0, 3, 1, 2).float() * mask
    held = torch.sign(torch.randn(1, 4, HEIGHT, WIDTH, generator=rng))
    age = torch.full((1, 1, HEIGHT, WIDTH), 0.5 ** 0.5)
    present = torch.zeros(1, NCLASS).index_fill(1, cls.unique(), 1.0)
    return (80 * torch.randn(1, 4, HEIGHT, WIDTH, generator=rng), torch.tensor([80.0])), (cond, mask, held, age, present)


def compare(folder, nets):
    import onnxruntime

    for name, net in nets.items():
        session = onnxruntime.InferenceSession(os.path.join(folder, f"{name}.onnx"))
        worst = 0.0
        for seed in range(4):
            x, given = example(seed)
            values = x + given if name == "restore" else given
            with torch.no_grad():
                expected = net(*values)
            expected = expected if isinstance(expected, tuple) else (expected,)
            got = session.run(None, {i.name: v.numpy() for i, v in zip(session.get_inputs(), values)})
            worst = max(worst, max(float(np.abs(g - e.numpy()).max()) for g, e in zip(got, expected)))
        print(f"{name}: onnxruntime and torch differ by {worst:.2g} at most")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--out", default="models/street-float")
    p.add_argument("--full", action="store_true", help="store weights as float32 instead of float16")
    a = p.parse_args()
    saved = torch.load(a.checkpoint, map_location="cpu")
    os.makedirs(a.out, exist_ok=True)
    restore, head = Restore().eval(), Head().eval()
    restore.load_state_dict(saved["ema"]["restore"])
    head.load_state_dict(saved["ema"]["head"])
    print(f"{a.checkpoint}: iteration {saved['iteration']}, {saved['seconds'] / 60:.0f} minutes")
    x = (torch.zeros(1, 4, HEIGHT, WIDTH), torch.ones(1))
    write(restore, os.path.join(a.out, "restore.onnx"), x + blank(), ["x", "sigma"] + GIVEN, ["logits"], not a.full)
    write(head, os.path.join(a.out, "head.onnx"), blank(), GIVEN, ["free", "hazard"], not a.full)
    compare(a.out, {"restore": restore, "head": head})


if __name__ == "__main__":
    main()
