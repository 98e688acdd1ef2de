"""Calibration samples for the networks that `semrx-quantize` doesn't draw itself: latent, view and perceive; an .npz each.

    python models/train/samples.py --camvid ../shared/data/camvid --bundle models/street-float --out DIR [--count 48]

Recording 0006R0 alone: its last 21 frames, which nothing was trained on, and frames before them.
"""
import argparse
import os

import numpy as np
import onnxruntime
import torch

from data import Channel, frames, inputs, resample
from nets import SIGMA_MAX
from train_perceive import as_input, photograph
from train_regenerate import GIVEN, TIMES, picture, stream

LEVELS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)  # of eight steps of the flow


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid")
    p.add_argument("--bundle", default="models/street-float")
    p.add_argument("--out", required=True)
    p.add_argument("--count", type=int, default=48)
    a = p.parse_args()
    rng = np.random.default_rng(5)
    pool = frames(a.camvid, "0006R0")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = lambda name: onnxruntime.InferenceSession(os.path.join(a.bundle, name + ".onnx"), options)
    restore, head, view = session("restore"), session("head"), session("view")
    for role in ("latent", "view", "perceive"):
        os.makedirs(os.path.join(a.out, role), exist_ok=True)
    save = lambda role, k, **arrays: np.savez(os.path.join(a.out, role, f"{k:03}.npz"), **{n: v.astype(np.float32) for n, v in arrays.items()})
    for k in range(a.count):
        i = len(pool) - 1 - k % len(pool)
        maps = [resample(m) for _, m in pool[max(0, i - 2):i + 1]]
        one = stream(maps, Channel(rng), rng)
        given = {n: v.numpy() for n, v in inputs({n: torch.from_numpy(np.asarray(v)[None]) for n, v in one.items()}).items()}
        noise = rng.standard_normal((1, 4, 96, 128), dtype=np.float32)
        [deep] = restore.run(["deep"], {"x": SIGMA_MAX * noise, "sigma": np.array([SIGMA_MAX], np.float32), **given})
        free, hazard = head.run(["free", "hazard"], given)
        save("latent", k, deep=deep, first_free=free, first_hazard=hazard)

        image = pool[i][0]
        # What the sampler gives the view network at this step: from noise by the steps before.
        x = rng.standard_normal((1, 3, 96, 128), dtype=np.float32)
        told = {n: given[n] for n in GIVEN}
        step = k % len(LEVELS)
        for s, to in zip(LEVELS[:step], LEVELS[1:step + 1]):
            [velocity] = view.run(None, {"x": x, "t": np.array([s * TIMES], np.float32), **told})
            x = x + (to - s) * velocity
        save("view", k, x=x, t=np.array([LEVELS[step] * TIMES]), **told)
        save("perceive", k, image=as_input(photograph(image))[None])
    print(f"{a.count} samples each in {a.out}")


if __name__ == "__main__":
    main()
