"""Scores street-flow, street-meanflow or street-view on recording 0001TP, sampled by diffusers' scheduler and onnxruntime from the bundle's files;
or with --semrx compares such samples with those of `semrx sample` from the same noise.

    python models/train/score_generative.py --camvid ../shared/data/camvid --bundle models/street-flow
    python models/train/score_generative.py --camvid ../shared/data/camvid --bundle models/street-flow --semrx target/release/semrx
"""
import argparse
import json
import os
import subprocess
import tempfile

import diffusers
import numpy as np
import onnxruntime
import torch
from PIL import Image

from conditions import fill_conditions, noise, view_conditions
from data import NCLASS, training_frames
from generative_nets import CODES
from score import Confusion
from train_view import small


class Bundle:
    """The bundle's graphs, asked as its contract says, and its scheduler."""

    def __init__(self, folder, threads=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = lambda name: os.path.join(folder, name)
        self.contract = json.load(open(path("bundle.json")))["generate"]
        self.whole = onnxruntime.InferenceSession(path("model.onnx"), options)
        self.shallow = onnxruntime.InferenceSession(path("shallow.onnx"), options) if os.path.exists(path("shallow.onnx")) else None
        config = json.load(open(path("scheduler_config.json")))
        self.scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
        self.x_shape = self.whole.get_inputs()[0].shape

    def sample(self, steps, start, given, guidance=1.0, every=1):
        """The loop of diffusers' pipelines. One of `every` steps is whole (DeepCache)."""
        self.scheduler.set_timesteps(steps)
        times = [float(t) for t in self.scheduler.timesteps]
        x = torch.from_numpy(start)
        null = {k: np.zeros_like(v) for k, v in given.items()}
        deep = {}
        for step, t in enumerate(self.scheduler.timesteps):
            told = {"x": x.numpy().astype(np.float32), "t": np.array([times[step]], np.float32)}
            if "r" in self.contract:
                told["r"] = np.array([(times + [0.0])[step + 1]], np.float32)

            def ask(branch, arrays):
                if step % every:
                    return self.shallow.run(None, told | arrays | {"deep": deep[branch]})[0]
                out = self.whole.run(None, told | arrays)
                deep[branch] = out[-1]
                return out[0]

            out = ask("condition", given)
            if guidance != 1.0:
                without = ask("null", null)
                out = without + guidance * (out - without)
            x = self.scheduler.step(torch.from_numpy(out), t, x, return_dict=False)[0].float()
        return x.numpy()


def classes(x):
    """The class whose bits are nearest to [1,4,h,w]."""
    return np.einsum("bc,bhw->chw", CODES.numpy(), x[0]).argmax(0).astype(np.uint8)


def score_fill(bundle, camvid, loss, steps):
    rows, said = {}, {}
    for i, (given, frame) in enumerate(fill_conditions(camvid, loss)):
        for name in ("nearest-fill", "hold"):
            said[name] = frame["baselines"][name]
        start = noise(tuple(bundle.x_shape[1:]), seed=1000 + i)
        for k in steps:
            said[f"{k} steps"] = classes(bundle.sample(k, start, given))
        for name, cls in said.items():
            rows.setdefault(name, Confusion()).add(frame["truth"], cls, ~frame["received"])
    print(f"tile loss {loss}, lost cells: mIoU, accuracy in %")
    for name, confusion in rows.items():
        print(f"  {name:14}", *confusion.figures())


def agreement(bundle, flow, camvid, loss, steps):
    """How many lost cells of every fifth frame have the class that 30 steps of `flow` give them from the same noise, in %."""
    same, cells = {}, 0
    for i, (given, frame) in enumerate(fill_conditions(camvid, loss)[::5]):
        start, lost = noise(tuple(bundle.x_shape[1:]), seed=1000 + i), ~frame["received"]
        end = classes(flow.sample(30, start, given))
        cells += lost.sum()
        for name, model in (("flow", flow), ("this", bundle)):
            for k in steps:
                same[name, k] = same.get((name, k), 0) + (classes(model.sample(k, start, given)) == end)[lost].sum()
    print(f"tile loss {loss}, lost cells: as after 30 steps of the flow, in %")
    for (name, k), count in same.items():
        print(f"  {name}, {k} steps {100 * count / cells:6.1f}")


def palette(camvid):
    """Mean colour of each class in the training frames: [12, 3]."""
    total, count = np.zeros((NCLASS, 3)), np.zeros(NCLASS)
    for f in training_frames(camvid):
        rgb, cls = small(*f)
        count += np.bincount(cls.ravel(), minlength=NCLASS)
        for c in range(3):
            total[:, c] += np.bincount(cls.ravel(), rgb[c].ravel(), minlength=NCLASS)
    return (total / count[:, None]).astype(np.float32)


def score_view(bundle, camvid, steps, guidance, caches, count, sheet):
    seen, colours = view_conditions(camvid), palette(camvid)
    seen = [seen[i] for i in np.linspace(0, len(seen) - 1, count).round().astype(int)]
    flats = [colours[cls].transpose(2, 0, 1) for _, _, cls in seen]
    psnr = lambda a, b: 10 * np.log10(4 / np.mean((a - b) ** 2))
    detail = lambda v: float(np.abs(np.diff(v, axis=-1)).mean())
    rows, columns = {}, []
    for i, (given, rgb, _) in enumerate(seen):
        images = {"the frame": rgb, "mean colours": flats[i]}
        start = noise(tuple(bundle.x_shape[1:]), seed=1000 + i)
        for g, n in [(g, n) for g in guidance for n in caches]:
            image = bundle.sample(steps, start, given, g, n)[0]
            whole = image if n == 1 else whole
            images[f"guidance {g:g}, " + ("whole" if n == 1 else f"deep:{n}")] = image
            others = np.mean([psnr(image, flat) for j, flat in enumerate(flats) if j != i])
            figures = [psnr(image, rgb), psnr(image, flats[i]), others, psnr(image, whole) if n > 1 else np.nan, detail(image)]
            rows.setdefault(list(images)[-1], []).append(figures)
        rows.setdefault("the frame", []).append([np.nan, psnr(rgb, flats[i]), np.nan, np.nan, detail(rgb)])
        columns.append(list(images.values()))
    print(f"{count} maps, {steps} steps; dB to the frame, to the mean colours of the map's classes, to those of the other maps, to the sample"
          " without a cache; mean step between neighbours")
    for name, values in rows.items():
        *db, steps_of = np.mean(values, 0)
        print(f"  {name:20}", *(f"{v:6.2f}" if np.isfinite(v) else "     -" for v in db), f"{steps_of:.3f}")
    if sheet:
        grid = np.concatenate([np.concatenate(list(c), 1) for c in columns], 2)  # a column for each map
        pixels = ((grid.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(1, 2, 0)
        image = Image.fromarray(pixels)
        image.resize((image.width * 3, image.height * 3), Image.Resampling.NEAREST).save(sheet)
        print(f"{sheet}: a column for each map: the frame, mean colours, samples as above")


def check(bundle, folder, semrx, frame, runs):
    """Samples of semrx beside those of Python, from the same noise. 1 where more than one value in a thousand is off by over 1e-3 of the range:
    a flow to class bits pulls apart what starts a rounding error apart, in the few cells that stand between two classes."""
    start, off = noise(tuple(bundle.x_shape[1:]), seed=7), 0.0
    with tempfile.TemporaryDirectory() as work:
        path = lambda name: os.path.join(work, name + ".npz")
        np.savez(path("noise"), noise=start)
        np.savez(path("condition"), **frame)
        for steps, guidance, every in runs:
            expected = bundle.sample(steps, start, frame, guidance, every)
            command = [semrx, "sample", folder, "--steps", str(steps), "--condition", path("condition"), "--noise", path("noise"), "--out", path("s"), "--json"]
            command += ["--guidance", str(guidance)] if guidance != 1 else []
            command += ["--cache", f"deep:{every}"] if every > 1 else []
            told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            error = np.abs(np.load(path("s"))["sample"] - expected)
            size = float(expected.max() - expected.min())
            over = error > 1e-3 * size
            off = max(off, float(over.mean()))
            what = f"{steps:3} steps" + f", guidance {guidance:g}" * (guidance != 1) + f", deep:{every}" * (every > 1)
            print(f"{what}: error {error.max():.1e} at most, {error.mean():.1e} in the mean, of a range of {size:.2f}; "
                  f"{over.sum()} of {over.size} values off by over 1e-3 of it; {told['macs'] / 1e6:.0f} M MACs")
    return int(off > 1e-3)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid")
    p.add_argument("--bundle", required=True)
    p.add_argument("--semrx", help="the program, to compare with")
    p.add_argument("--flow", help="bundle of the flow that street-meanflow shortens: counts the cells where they end alike")
    p.add_argument("--loss", type=float, nargs="+", default=[0.5])
    p.add_argument("--steps", type=int, nargs="+", help="default: 1 4 10; 20 for street-view")
    p.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    p.add_argument("--cache", type=int, nargs="+", default=[1, 3, 4], help="one of so many steps is whole (street-view); begin with 1")
    p.add_argument("--count", type=int, default=12, help="maps of street-view (default: %(default)s)")
    p.add_argument("--sheet", help="PNG of the samples of street-view")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    bundle = Bundle(a.bundle, a.threads)
    view = "deep" in bundle.contract
    steps = a.steps or ([20] if view else [1, 4, 10])
    if a.semrx:
        frame = (view_conditions(a.camvid) if view else fill_conditions(a.camvid, a.loss[0]))[20][0]
        runs = [(k, g, n) for k in steps for g in a.guidance for n in a.cache] if view else [(k, 1.0, 1) for k in steps]
        raise SystemExit(check(bundle, a.bundle, a.semrx, frame, runs))
    if view:
        score_view(bundle, a.camvid, steps[0], a.guidance, a.cache, a.count, a.sheet)
    elif a.flow:
        agreement(bundle, Bundle(a.flow, a.threads), a.camvid, a.loss[0], steps)
    else:
        for loss in a.loss:
            score_fill(bundle, a.camvid, loss, steps)


if __name__ == "__main__":
    main()
