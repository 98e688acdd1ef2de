"""Trains the network of models/street-view: the noise in 64x48 images of streets, given their class maps. Seeded, resumes from its checkpoint.

    python models/train/train_view.py --camvid ../shared/data/camvid --out VIEW_DIR
"""
import argparse
import math
import os
import time

import diffusers
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from data import NCLASS, training_frames
from generative_nets import VIEW_HEIGHT, VIEW_WIDTH, View
from train import Average

NULL_SHARE = 0.1
WARM_UP = 200


def scheduler():
    """The schedule of the noise, in training and in the bundle."""
    return diffusers.DDIMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon")


def small(image, cls, x0=0.0, y0=0.0, size=1.0, flip=False):
    """A window (corner and size as fractions) as the network has it: RGB in -1..1 [3,48,64] by area, classes [48,64] by nearest."""
    w, h = image.size
    box = (x0 * w, y0 * h, (x0 + size) * w, (y0 + size) * h)
    rgb = np.asarray(image.resize((VIEW_WIDTH, VIEW_HEIGHT), Image.Resampling.BOX, box=box), np.float32).transpose(2, 0, 1) / 127.5 - 1
    rows = ((y0 + (np.arange(VIEW_HEIGHT) + 0.5) / VIEW_HEIGHT * size) * cls.shape[0]).astype(int)
    cols = ((x0 + (np.arange(VIEW_WIDTH) + 0.5) / VIEW_WIDTH * size) * cls.shape[1]).astype(int)
    seen = cls[rows[:, None], cols[None, :]]
    return (rgb[:, :, ::-1].copy(), seen[:, ::-1].copy()) if flip else (rgb, seen)


def condition(cls):
    """[n,48,64] -> one-hot f32 [n,12,48,64]."""
    return torch.nn.functional.one_hot(torch.from_numpy(cls).long(), NCLASS).permute(0, 3, 1, 2).float()


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid", help="folder with train and val, each with image and label (default: %(default)s)")
    p.add_argument("--out", required=True, help="folder of the checkpoint; an unfinished run there is resumed")
    p.add_argument("--iterations", type=int, default=12000)
    p.add_argument("--minutes", type=float, default=60, help="of CPU time: the schedule ends here if the iterations have not (default: %(default)s)")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    return p.parse_args()


def main():
    a = arguments()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    os.makedirs(a.out, exist_ok=True)
    path = os.path.join(a.out, "checkpoint.pt")
    pool = training_frames(a.camvid)
    print(f"{len(pool)} frames")
    kept = scheduler().alphas_cumprod.float().sqrt()
    noise_of = (1 - scheduler().alphas_cumprod.float()).sqrt()

    net = View().to(memory_format=torch.channels_last)
    average = Average(net, 0.9985)
    optimizer = torch.optim.AdamW(net.parameters(), lr=a.rate, weight_decay=1e-3)
    start, spent = 0, 0.0
    if os.path.exists(path):
        saved = torch.load(path)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        average.weights, average.steps = saved["ema"], saved["iteration"]
        start, spent = saved["iteration"], saved["seconds"]
        print(f"resumed at iteration {start}, {spent / 60:.0f} minutes in")
    began = time.process_time() - spent

    def save():
        state = {"net": net.state_dict(), "ema": average.weights, "optimizer": optimizer.state_dict(), "iteration": iteration,
                 "seconds": time.process_time() - began, "arguments": vars(a)}
        torch.save(state, path + ".part")
        os.replace(path + ".part", path)

    rng = np.random.default_rng([a.seed, start])
    noise = torch.Generator().manual_seed(a.seed * 1_000_003 + start)
    spread = lambda v: v.view(-1, 1, 1, 1)
    bar = tqdm(total=a.iterations, initial=start, mininterval=10, dynamic_ncols=True)
    smooth, saved_at, iteration = None, time.time(), start
    while True:
        progress = max(iteration / a.iterations, (time.process_time() - began) / 60 / a.minutes)
        if progress >= 1:
            break
        for g in optimizer.param_groups:
            g["lr"] = min(1, (iteration + 1) / WARM_UP) * (1e-5 + 0.5 * (a.rate - 1e-5) * (1 + math.cos(math.pi * progress)))
        samples = []
        for i in rng.integers(len(pool), size=a.batch):
            size = rng.uniform(0.7, 1.0)
            samples.append(small(*pool[i], rng.uniform(0, 1 - size), rng.uniform(0, 1 - size), size, rng.random() < 0.5))
        x0, given = torch.from_numpy(np.stack([s[0] for s in samples])), condition(np.stack([s[1] for s in samples]))
        given[torch.from_numpy(rng.random(a.batch) < NULL_SHARE)] = 0
        # One timestep from each of as many equal parts of the schedule.
        t = ((torch.arange(a.batch) + torch.rand(a.batch, generator=noise)) * (1000 / a.batch)).long().clamp(max=999)
        z = torch.randn(x0.shape, generator=noise)
        x = spread(kept[t]) * x0 + spread(noise_of[t]) * z
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            said, _ = net(x.to(memory_format=torch.channels_last), t.float(), given.to(memory_format=torch.channels_last))
        loss = ((said.float() - z) ** 2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update(net)
        iteration += 1
        value = loss.item()
        if not math.isfinite(value):
            raise SystemExit(f"iteration {iteration}: the loss is {value}")
        smooth = value if smooth is None else smooth + (value - smooth) * max(0.01, 1 / (iteration - start))
        bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
        bar.update()
        if time.time() - saved_at > 120:
            save()
            saved_at = time.time()
    bar.close()
    save()
    print(f"{iteration} iterations in {(time.process_time() - began) / 60:.0f} minutes of CPU time: {path}; now export_generative.py")


if __name__ == "__main__":
    main()
