"""Trains the view network: photographs of streets of what arrived of their class maps, by flow matching. Seeded, resumes from its checkpoint.

    python models/train/train_regenerate.py --camvid ../shared/data/camvid --out VIEW_DIR
"""
import argparse
import math
import os
import time

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from data import HEIGHT, NCLASS, WIDTH, Channel, Held, as_received, inputs, one_hot, resample, soft_scores, training_frames
from regenerate_net import TIMES, Regenerate
from train import Average

WARM_UP = 200
GIVEN = ("cond", "mask", "held", "age")


def picture(image, box=None, flip=False):
    """A window of an image as the network has it: RGB in -1..1, f32 [3,96,128]."""
    out = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BOX, box=box), np.float32).transpose(2, 0, 1) / 127.5 - 1
    return out[:, :, ::-1].copy() if flip else out


def arrived(maps, channel, rng):
    """What a receiver has of the last of `maps`, consecutive ones of a stream that crosses `channel`: as data.Sampler gives it."""
    held = Held()
    for cls in maps[:-1]:
        held.step()
        held.take(cls, channel.received())
    held.step()
    truth = maps[-1]
    present = np.bincount(truth.ravel(), minlength=NCLASS) > 0
    received = channel.received()
    scores = soft_scores(truth, present, channel.soft, channel.four_bit, rng) if channel.soft else one_hot(truth)
    cls, freshness = held.filled(as_received(scores, channel.soft) if channel.soft else truth, received)
    return {"truth": truth, "received": received, "scores": scores, "sigma": np.float32(channel.soft), "held": cls, "freshness": freshness,
            "present": present}


def sample(pool, i, rng):
    """(image [3,96,128], what arrived of its map)."""
    size = rng.uniform(0.7, 1.0) if rng.random() < 0.7 else 1.0
    x0, y0, flip = rng.uniform(0, 1 - size), rng.uniform(0, 1 - size), rng.random() < 0.5
    w, h = pool[i][0].size
    image = picture(pool[i][0], (x0 * w, y0 * h, (x0 + size) * w, (y0 + size) * h), flip)
    channel = Channel(rng)
    if rng.random() < 0.5:  # half of the samples know the whole map
        channel.loss = channel.soft = 0.0
    history = int(rng.integers(0, 3))
    maps = [resample(pool[k][1], x0, y0, size, flip) for k in range(max(0, i - history), i + 1)]
    return image, arrived(maps, channel, rng)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid", help="folder with train and val, each with image and label (default: %(default)s)")
    p.add_argument("--out", required=True, help="folder of the checkpoint; an unfinished run there is resumed")
    p.add_argument("--iterations", type=int, default=100000)
    p.add_argument("--minutes", type=float, default=40, help="of CPU time: the schedule ends here if the iterations have not (default: %(default)s)")
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

    net = Regenerate().to(memory_format=torch.channels_last)
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
    bar = tqdm(total=a.iterations, initial=start, mininterval=10, dynamic_ncols=True)
    smooth, saved_at, iteration = None, time.time(), start
    while True:
        progress = max(iteration / a.iterations, (time.process_time() - began) / 60 / a.minutes)
        if progress >= 1:
            break
        for g in optimizer.param_groups:
            g["lr"] = min(1, (iteration + 1) / WARM_UP) * (1e-5 + 0.5 * (a.rate - 1e-5) * (1 + math.cos(math.pi * progress)))
        parts = [sample(pool, i, rng) for i in rng.integers(len(pool), size=a.batch)]
        x0 = torch.from_numpy(np.stack([p[0] for p in parts]))
        given = inputs({k: torch.from_numpy(np.stack([p[1][k] for p in parts])) for k in parts[0][1]})
        # Times by the logistic of a normal number, as Esser et al. (2024) have them, one from each part of its quantiles; some at the very start.
        u = (torch.arange(a.batch) + torch.rand(a.batch, generator=noise)) / a.batch
        s = torch.sigmoid(0.5 + 1.2 * math.sqrt(2) * torch.erfinv(2 * u - 1))
        s[torch.rand(a.batch, generator=noise) < 0.1] = 1.0
        z = torch.randn(x0.shape, generator=noise)
        level = s.view(-1, 1, 1, 1)
        x = (1 - level) * x0 + level * z
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            said = net(x.to(memory_format=torch.channels_last), s * TIMES, *(given[k].to(memory_format=torch.channels_last) for k in GIVEN))
        loss = ((said.float() - (z - x0)) ** 2).mean()
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
    print(f"{iteration} iterations in {(time.process_time() - began) / 60:.0f} minutes of CPU time: {path}")


if __name__ == "__main__":
    main()
