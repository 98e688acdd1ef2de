"""Writes latent.onnx, perceive.onnx and view.onnx beside the networks of export.py, and checks them against torch in onnxruntime.

    python models/train/export_view.py --latent LATENT.pt --perceive PERCEIVE_DIR/checkpoint.pt --view VIEW_DIR/checkpoint.pt --out models/street-float
"""
import argparse
import os

import numpy as np
import onnxruntime
import torch

from export import example, write
from latent_net import LatentHead
from perceive_net import IMAGE_HEIGHT, IMAGE_WIDTH, Perceive
from regenerate_net import Regenerate
from data import HEIGHT, WIDTH


def check(net, path, values):
    session = onnxruntime.InferenceSession(path)
    with torch.no_grad():
        expected = net(*values)
    expected = expected if isinstance(expected, tuple) else (expected,)
    got = session.run(None, {i.name: v.numpy() for i, v in zip(session.get_inputs(), values)})
    worst = max(float(np.abs(g - e.numpy()).max()) for g, e in zip(got, expected))
    print(f"{path}: onnxruntime and torch differ by {worst:.2g} at most")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--latent")
    p.add_argument("--perceive")
    p.add_argument("--view")
    p.add_argument("--out", default="models/street-float")
    a = p.parse_args()
    rng = torch.Generator().manual_seed(0)
    path = lambda name: os.path.join(a.out, name)
    if a.latent:
        net = LatentHead().eval()
        net.load_state_dict(torch.load(a.latent))
        values = torch.randn(1, 192, 12, 16, generator=rng), torch.rand(1, 16, generator=rng), 4 * torch.randn(1, 27, generator=rng)
        write(net, path("latent.onnx"), values, ["deep", "first_free", "first_hazard"], ["free", "hazard"], True)
        check(net, path("latent.onnx"), values)
    if a.perceive:
        net = Perceive().eval()
        average = {k.removeprefix("module."): v for k, v in torch.load(a.perceive)["average"].items() if k.startswith("module.")}
        net.load_state_dict(average)
        values = (torch.rand(1, 3, IMAGE_HEIGHT, IMAGE_WIDTH, generator=rng),)
        write(net, path("perceive.onnx"), values, ["image"], ["logits"], True)
        check(net, path("perceive.onnx"), values)
    if a.view:
        net = Regenerate().eval()
        net.load_state_dict(torch.load(a.view)["ema"])
        _, given = example(0)
        values = (torch.randn(1, 3, HEIGHT, WIDTH, generator=rng), torch.tensor([700.0])) + given[:4]
        write(net, path("view.onnx"), values, ["x", "t", "cond", "mask", "held", "age"], ["velocity"], True)
        check(net, path("view.onnx"), values)


if __name__ == "__main__":
    main()
