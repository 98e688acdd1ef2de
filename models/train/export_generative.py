"""Writes a bundle that `semrx sample` samples from a checkpoint's averaged weights: its ONNX files, the scheduler as diffusers writes it, bundle.json.
MODEL_CARD.md has to be there, since bundle.json holds its hash: run this again when the card has changed.

    python models/train/export_generative.py --checkpoint FLOW_DIR/checkpoint.pt --out models/street-flow
    python models/train/export_generative.py --checkpoint MEANFLOW_DIR/checkpoint.pt --out models/street-meanflow
    python models/train/export_generative.py --checkpoint VIEW_DIR/checkpoint.pt --out models/street-view
    python models/train/export_generative.py --seal --out models/street-view        # bundle.json alone
"""
import argparse
import hashlib
import json
import os

import diffusers
import numpy as np
import torch

from export import write
from generative_nets import Fill, Shallow, View, blank_fill, blank_view
from train_flow import GIVEN
from train_view import scheduler as view_scheduler

FLOW = {"x": "x", "t": "t", "condition": ["cond", "held", "age", "present"], "mask": "mask", "output": "velocity", "kind": "flow"}
VIEW = {"x": "x", "t": "t", "condition": ["map"], "output": "noise", "kind": "epsilon", "deep": "deep"}
CONTRACTS = {"street-flow": FLOW, "street-meanflow": FLOW | {"r": "r"}, "street-view": VIEW}
ROLES = {"generate": "model.onnx", "generate_shallow": "shallow.onnx", "scheduler": "scheduler_config.json", "card": "MODEL_CARD.md"}


def seal(folder, contract):
    """bundle.json, with the hash of every file."""
    path = lambda name: os.path.join(folder, name)
    digest = lambda name: hashlib.sha256(open(path(name), "rb").read()).hexdigest()
    manifest = {
        "schema": 1,
        "name": os.path.basename(os.path.normpath(folder)),
        "label_set": "camvid12",
        "files": [{"role": role, "file": name, "sha256": digest(name)} for role, name in ROLES.items() if os.path.exists(path(name))],
        "generate": contract,
    }
    with open(path("bundle.json"), "w") as f:
        json.dump(manifest, f, indent=2)
        f.write("\n")


def compare(file, net, values):
    """How far onnxruntime is from torch, of the largest value."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    with torch.no_grad():
        expected = net(*values)
    expected = expected if isinstance(expected, tuple) else (expected,)
    got = session.run(None, {i.name: v.numpy() for i, v in zip(session.get_inputs(), values)})
    worst = max(float(np.abs(g - e.numpy()).max() / e.abs().max()) for g, e in zip(got, expected))
    print(f"{file}: onnxruntime and torch differ by {worst:.2g} of the largest value")


def tried(values, seed=0):
    """Inputs of the right shapes with plausible values."""
    rng = torch.Generator().manual_seed(seed)
    noisy = lambda v: torch.randn(v.shape, generator=rng) if v.dim() == 4 else v * 0.7
    classes = lambda v: torch.nn.functional.one_hot(torch.randint(0, 12, v[:, 0].shape, generator=rng), 12).permute(0, 3, 1, 2).float()
    return tuple(classes(v) if v.dim() == 4 and v.shape[1] == 12 else noisy(v) for v in values)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint")
    p.add_argument("--out", required=True, help="the bundle's folder; its name says which of the three it is: " + ", ".join(CONTRACTS))
    p.add_argument("--seal", action="store_true", help="write bundle.json alone, round the files that are there")
    a = p.parse_args()
    name = os.path.basename(os.path.normpath(a.out))
    if name not in CONTRACTS or bool(a.checkpoint) == a.seal:
        p.error(f"give one of --checkpoint and --seal, and a folder named {', '.join(CONTRACTS)}")
    os.makedirs(a.out, exist_ok=True)
    path = lambda file: os.path.join(a.out, file)
    if a.checkpoint:
        saved = torch.load(a.checkpoint, map_location="cpu")
        print(f"{a.checkpoint}: iteration {saved['iteration']}, {saved['seconds'] / 60:.0f} minutes of CPU time")
        net = View() if name == "street-view" else Fill(two_times=name == "street-meanflow")
        net.load_state_dict(saved["ema"])
        net.eval()
        print(f"{sum(v.numel() for v in net.parameters())} parameters")
        if name == "street-view":
            values, deep = blank_view()
            write(net, path("model.onnx"), values, ["x", "t", "map"], ["noise", "deep"], True)
            shallow = Shallow(net).eval()
            write(shallow, path("shallow.onnx"), values + (deep,), ["x", "t", "map", "deep"], ["noise"], True)
            compare(path("shallow.onnx"), shallow, tried(values + (deep,)))
            view_scheduler().save_pretrained(a.out)
        else:
            two = net.ahead is not None
            values = blank_fill(two)
            write(net, path("model.onnx"), values, ["x", "t"] + ["r"] * two + GIVEN, ["velocity"], True)
            (diffusers.FlowMapEulerDiscreteScheduler() if two else diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0)).save_pretrained(a.out)
        compare(path("model.onnx"), net, tried(values))
    seal(a.out, CONTRACTS[name])


if __name__ == "__main__":
    main()
