"""Trains the network of models/street-view: the noise in 64x48 images of streets, given their class maps. Seeded, resumes from its checkpoint.

    python models/train/train_view.py --camvid ../shared/data/camvid --out VIEW_DIR
"""
import diffusers
import numpy as np
import torch
from PIL import Image

from data import NCLASS, training_frames
from generative_nets import VIEW_HEIGHT, VIEW_WIDTH, View
from train import Average
from training import Run, parser

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


def main():
    a = parser(__doc__, iterations=12000, minutes=60, batch=16, rate=1e-3).parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    pool = training_frames(a.camvid)
    print(f"{len(pool)} frames")
    kept = scheduler().alphas_cumprod.float().sqrt()
    noise_of = (1 - scheduler().alphas_cumprod.float()).sqrt()

    net = View().to(memory_format=torch.channels_last)
    run = Run(a, net, Average(net, 0.9985), torch.optim.AdamW(net.parameters(), lr=a.rate, weight_decay=1e-3), WARM_UP)
    rng = np.random.default_rng([a.seed, run.start])
    noise = torch.Generator().manual_seed(a.seed * 1_000_003 + run.start)
    spread = lambda v: v.view(-1, 1, 1, 1)

    def losses():
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
        with torch.autocast("cpu", torch.bfloat16):
            said, _ = net(x.to(memory_format=torch.channels_last), t.float(), given.to(memory_format=torch.channels_last))
        loss = ((said.float() - z) ** 2).mean()
        return loss, loss

    run.train(losses)
    print("now export_generative.py")


if __name__ == "__main__":
    main()
