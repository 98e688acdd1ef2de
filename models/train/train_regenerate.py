"""Trains the view network: photographs of streets of what arrived of their class maps, by flow matching. Seeded, resumes from its checkpoint.

    python models/train/train_regenerate.py --camvid ../shared/data/camvid --out VIEW_DIR
"""
import math

import numpy as np
import torch
from PIL import Image

from data import HEIGHT, WIDTH, Channel, Held, arrived, inputs, resample, training_frames
from regenerate_net import TIMES, Regenerate
from train import Average
from training import Run, parser

WARM_UP = 200
GIVEN = ("cond", "mask", "held", "age")


def picture(image, box=None, flip=False):
    """A window of an image as the network has it: RGB in -1..1, f32 [3,96,128]."""
    out = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BOX, box=box), np.float32).transpose(2, 0, 1) / 127.5 - 1
    return out[:, :, ::-1].copy() if flip else out


def stream(maps, channel, rng, period=1.0):
    """What a receiver has of the last of `maps`, one every `period` seconds of a stream that crosses `channel`."""
    held = Held()
    for cls in maps[:-1]:
        held.step(period)
        held.take(cls, channel.received())
    held.step(period)
    return arrived(maps[-1], maps[-1], channel, held, rng)


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
    return image, stream(maps, channel, rng)


def main():
    a = parser(__doc__, iterations=100000, minutes=40, batch=16, rate=1e-3).parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    pool = training_frames(a.camvid)
    print(f"{len(pool)} frames")

    net = Regenerate().to(memory_format=torch.channels_last)
    run = Run(a, net, Average(net, 0.9985), torch.optim.AdamW(net.parameters(), lr=a.rate, weight_decay=1e-3), WARM_UP)
    rng = np.random.default_rng([a.seed, run.start])
    noise = torch.Generator().manual_seed(a.seed * 1_000_003 + run.start)

    def losses():
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
        with torch.autocast("cpu", torch.bfloat16):
            said = net(x.to(memory_format=torch.channels_last), s * TIMES, *(given[k].to(memory_format=torch.channels_last) for k in GIVEN))
        loss = ((said.float() - (z - x0)) ** 2).mean()
        return loss, loss

    run.train(losses)


if __name__ == "__main__":
    main()
