"""Scores the networks beside their baselines on whole recordings, frame after frame with the held scene.

    python models/train/score.py --camvid ../shared/data/camvid --onnx models/street-float [--split test] [--seeds 3] [--json FILE]

mIoU and accuracy are of pooled confusion over the 11 classes, cells whose truth is unlabelled ignored; digital rows count lost cells only,
soft rows all cells. Hazard: macro-F1 over the pairs that occur in 2-98 % of the frames. Free: mean absolute error in thousandths.
"""
import argparse
import json
import os

import numpy as np
import torch

import rule
from data import HEIGHT, NCLASS, UNKNOWN, WIDTH, Camvid, Channel, Held, as_received, bits, fast_denoise, inputs, one_hot, resample, soft_scores
from nets import SIGMA_MAX, SIGMA_MIN, Head, Restore

GESCO_SIGMAS = [0.05, 0.08, 0.13, 0.22, 0.36, 0.6, 0.9, 1.3, 2.0]


class Networks:
    """Both networks as functions of tensors, whatever runs them."""

    def __init__(self, restore, head):
        self.restore, self.head = restore, head

    def refine(self, given, steps, rng):
        """Multistep consistency sampling -> class probabilities [n,12,96,128]; cells that arrived intact are put back after each step."""
        intact = given["mask"] * (given["cond"].amax(1, keepdim=True) > 0.999)
        n = len(intact)
        grid = np.linspace(SIGMA_MAX ** (1 / 7), SIGMA_MIN ** (1 / 7), steps + 1)[:-1] ** 7
        signs = bits(torch.arange(NCLASS, dtype=torch.uint8).view(1, 1, NCLASS))[0, :, 0]  # [4, 12]
        estimate = torch.zeros(n, 4, HEIGHT, WIDTH)
        for sigma in grid:
            x = estimate + float(sigma) * torch.randn(n, 4, HEIGHT, WIDTH, generator=rng)
            p = torch.softmax(self.restore(x, torch.full((n,), float(sigma)), **given), 1)
            p = p * (1 - intact) + given["cond"] * intact
            estimate = torch.einsum("bc,nchw->nbhw", signs, p)
        return p


def from_weights(weights, device=torch.device("cpu")):
    nets = {"restore": Restore(), "head": Head()}
    for k, net in nets.items():
        net.load_state_dict(weights[k])
        net.to(device).eval()

    def call(net):
        @torch.no_grad()
        def run(*tensors, **named):
            out = net(*(t.to(device) for t in tensors), **{k: v.to(device) for k, v in named.items()})
            return tuple(o.cpu() for o in out) if isinstance(out, tuple) else out.cpu()
        return run

    return Networks(call(nets["restore"]), call(nets["head"]))


def from_checkpoint(path):
    return from_weights(torch.load(path, map_location="cpu")["ema"])


def from_onnx(folder, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = {k: onnxruntime.InferenceSession(os.path.join(folder, f"{k}.onnx"), options) for k in ("restore", "head")}

    def each(session, named):
        n = len(next(iter(named.values())))
        rows = [session.run(None, {k: v[i:i + 1].numpy() for k, v in named.items()}) for i in range(n)]
        return tuple(torch.from_numpy(np.concatenate(o)) for o in zip(*rows))

    return Networks(
        lambda x, sigma, **given: each(sessions["restore"], {"x": x, "sigma": sigma, **given})[0],
        lambda **given: each(sessions["head"], given),
    )


def nearest_fill(cls, received):
    """The class of the nearest known cell, by Euclidean distance; unknown where nothing arrived."""
    if not received.any():
        return np.full_like(cls, UNKNOWN)
    rows = np.arange(HEIGHT)
    gap = np.where(received[None], np.abs(rows[:, None, None] - rows[None, :, None]), 10_000)  # [row, other row, column]
    above = gap.argmin(1)
    gap = gap.min(1).astype(np.int64)  # to the nearest known cell of the same column
    cols = np.arange(WIDTH)
    pick = (gap[:, None, :] ** 2 + (cols[None, :, None] - cols[None, None, :]) ** 2).argmin(2)
    return cls[np.take_along_axis(above, pick, 1), pick]


def most_common(sequences):
    """Per-cell most common class: the prior."""
    count = sum(one_hot(resample(m)) for s in sequences for m in s)
    return count.argmax(0).astype(np.uint8)


class Confusion:
    def __init__(self):
        self.m = np.zeros((NCLASS, NCLASS + 1), np.int64)

    def add(self, truth, said, where):
        said = np.where(said == UNKNOWN, NCLASS, said)[where]
        self.m += np.bincount(truth[where].astype(int) * (NCLASS + 1) + said, minlength=self.m.size).reshape(self.m.shape)

    def figures(self):
        """mIoU and accuracy in %, over the classes that occur; nothing where no cell was counted."""
        m = self.m[:NCLASS - 1]
        if not m.sum():
            return [None, None]
        hit = np.diagonal(m)
        union = m.sum(1) + m[:, :NCLASS - 1].sum(0) - hit
        there = m.sum(1) > 0
        return [round(100 * float(v), 1) for v in ((hit / np.maximum(union, 1))[there].mean(), hit.sum() / m.sum())]


def macro_f1(truth, said):
    """Over the pairs with a prevalence of 2-98 %, in %."""
    share = truth.mean(0)
    pairs = (share >= 0.02) & (share <= 0.98)
    hit = (truth & said).sum(0)[pairs]
    return round(100 * float(np.mean(2 * hit / np.maximum(truth.sum(0)[pairs] + said.sum(0)[pairs], 1))), 1)


def stream(sequences, loss=0.0, burst=0.0, sigma=0.0, tiling=(4, 2), seed=0, hold=True, phases=False, filled=True):
    """What a receiver sees of each frame, in order: dict of arrays, one row a frame; `baselines` holds the maps of these. `filled` says how the held
    scene is told."""
    rng = np.random.default_rng(seed)
    frames = []
    for seq in sequences:
        channel = Channel(rng, tiling, loss, burst, sigma, phases)
        channel.four_bit = False
        held = Held()
        for m in seq:
            truth, received = resample(m), channel.received()
            present = np.bincount(truth.ravel(), minlength=NCLASS) > 0
            if not received.any():
                present = np.ones(NCLASS, bool)
            scores = soft_scores(truth, present, sigma, False, rng) if sigma else one_hot(truth)
            held.step(seq.period)
            memory = held if hold else Held()
            shown = as_received(scores, sigma) if sigma else truth
            cls, freshness = memory.filled(shown, received) if filled else memory.bare()
            frame = {"truth": truth, "received": received, "scores": scores, "sigma": np.float32(sigma), "held": cls,
                     "freshness": freshness, "present": present}
            if sigma:
                frame["baselines"] = {"argmax": scores.argmax(0).astype(np.uint8), "fds": fast_denoise(scores)}
            else:
                near = nearest_fill(truth, received)
                frame["baselines"] = {"layout-only": np.where(received, truth, UNKNOWN), "nearest-fill": near,
                                      "hold": np.where(received, truth, np.where(memory.cls == UNKNOWN, near, memory.cls))}
            frames.append(frame)
            held.take(shown, received)
    return frames


def tensors(frames):
    keys = [k for k in frames[0] if k != "baselines"]
    return {k: torch.from_numpy(np.stack([f[k] for f in frames])) for k in keys}


def table(nets, frames, prior, steps=(1,), seed=0):
    """Figures by row: {row: [mIoU, accuracy, hazard F1, free error]}."""
    rng = torch.Generator().manual_seed(seed)
    soft = frames[0]["sigma"] > 0
    truths = np.stack([f["truth"] for f in frames])
    where = [np.ones_like(f["received"]) if soft else ~f["received"] for f in frames]
    maps = {k: [f["baselines"][k] for f in frames] for k in frames[0]["baselines"]}
    if not soft:
        maps["prior"] = [np.where(f["received"], f["truth"], prior) for f in frames]
    heads = {"semantic_first": []}
    for i in range(0, len(frames), 16):
        given = inputs(tensors(frames[i:i + 16]))
        heads["semantic_first"].append(nets.head(**given))
        for k in steps:
            p = nets.refine(given, k, rng)
            maps.setdefault(f"hybrid {k}", []).extend(p.argmax(1).to(torch.uint8).numpy())
            refined = given | {"cond": p, "mask": torch.ones_like(given["mask"])}
            heads.setdefault(f"hybrid {k}", []).append(nets.head(**refined))
    hazards, free = rule.hazards(truths), rule.free_space(truths)
    rows = {}
    for name, said in maps.items():
        c = Confusion()
        for t, s, w in zip(truths, said, where):
            c.add(t, s, w)
        said = np.stack(said)
        rows[name] = c.figures() + [macro_f1(hazards, rule.hazards(said)), round(1000 * float(np.abs(rule.free_space(said) - free).mean()), 1)]
    for name, out in heads.items():
        guess = torch.cat([o[1] for o in out]).numpy() > 0
        error = np.abs(torch.cat([o[0] for o in out]).numpy() - free).mean()
        decided = [macro_f1(hazards, guess), round(1000 * float(error), 1)]
        agreement = round(100 * float((guess == hazards).mean()), 2)
        if name in rows:
            rows[name + ", rule on its map"] = rows[name]
            rows[name] = rows[name][:2] + decided + [agreement]
        else:
            rows[name] = [None, None] + decided + [agreement]
    return rows


def text(title, rows):
    show = lambda v: "     -" if v is None else f"{v:6.1f}"
    lines = [f"{title:<34} mIoU   acc  haz-F1  free  agree"]
    return "\n".join(lines + [f"  {k:<31}" + " ".join(show(v) for v in r) for k, r in rows.items()])


def quick(nets, camvid):
    """A short look at the calibration chunk."""
    prior = most_common(camvid.train)
    parts = [("loss .5", {"loss": 0.5}), ("soft .9", {"sigma": 0.9})]
    return "\n".join(text(t, table(nets, stream(camvid.calibration, **spec), prior)) for t, spec in parts)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid")
    p.add_argument("--onnx", help="folder with restore.onnx and head.onnx")
    p.add_argument("--checkpoint", help="checkpoint.pt of a training; its averaged weights are scored")
    p.add_argument("--split", choices=["test", "calibration"], default="test")
    p.add_argument("--seeds", type=int, default=1, help="runs of each channel, pooled")
    p.add_argument("--steps", default="1,2,4")
    p.add_argument("--threads", type=int, default=0, help="0: all cores")
    p.add_argument("--json", help="write the figures here as well")
    a = p.parse_args()
    if bool(a.onnx) == bool(a.checkpoint):
        p.error("give one of --onnx and --checkpoint")
    if a.threads:
        torch.set_num_threads(a.threads)
    nets = from_onnx(a.onnx, a.threads) if a.onnx else from_checkpoint(a.checkpoint)
    camvid = Camvid(a.camvid, test_too=True)
    sequences = camvid.test if a.split == "test" else camvid.calibration
    prior = most_common(camvid.train)
    steps = [int(s) for s in a.steps.split(",")]
    specs = [("loss 0", {"loss": 0.0})]
    specs += [(f"loss {p}{' in bursts' if b else ''}", {"loss": p, "burst": b}) for p in (0.1, 0.3, 0.5, 0.7) for b in (0.0, 3.0)]
    specs += [(f"soft {s}{'' if h else ', nothing held'}", {"sigma": s, "hold": h}) for s in GESCO_SIGMAS for h in (True, False)]
    out = {}
    for title, spec in specs:
        frames = [f for seed in range(a.seeds) for f in stream(sequences, seed=seed, **spec)]
        out[title] = table(nets, frames, prior, steps if spec.get("hold", True) else steps[:1])
        print(text(title, out[title]), flush=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)


if __name__ == "__main__":
    main()
