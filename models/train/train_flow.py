"""Trains the network of models/street-flow, or from its weights that of models/street-meanflow. Seeded, resumes from its checkpoint.

    python models/train/train_flow.py --camvid ../shared/data/camvid --out FLOW_DIR
    python models/train/train_flow.py --mean --start FLOW_DIR/checkpoint.pt --camvid ../shared/data/camvid --out MEANFLOW_DIR
"""
import os

import torch

from data import Batches, Camvid, bits, inputs, street
from generative_nets import TIMES, Fill
from train import Average
from training import Run, checkpoint, parser

GIVEN = ["cond", "held", "age", "present", "mask"]
WARM_UP = 100


def arguments():
    p = parser(__doc__, iterations=3600, minutes=60, batch=8, rate=1e-3)
    p.add_argument("--street", help="folder of procedural street maps, SEED_FRAME.png; a quarter of the samples when given")
    p.add_argument("--mean", action="store_true", help="learn the mean velocity between two times (MeanFlow)")
    p.add_argument("--start", help="checkpoint whose averaged weights a new run begins with")
    return p.parse_args()


def levels(n, rng):
    """Noise levels: every fifth all noise (the one-step case), the others logit-normal, in .02 to 1."""
    s = torch.sigmoid(0.3 + 1.2 * torch.randn(n, generator=rng)).clamp(0.02, 1)
    return torch.where(torch.rand(n, generator=rng) < 0.2, torch.ones(n), s)


def two_times(n, rng, equal=0.6):
    """t >= r: the same in `equal` of the samples; else two levels, or 1 and 0 in a quarter of these."""
    a, b, u = levels(n, rng), torch.sigmoid(-0.4 + 1.2 * torch.randn(n, generator=rng)), torch.rand(n, generator=rng)
    t, r = torch.maximum(a, b).clamp(min=0.1), torch.minimum(a, b)
    whole = u > 1 - (1 - equal) / 4
    t, r = torch.where(whole, torch.ones(n), t), torch.where(whole, torch.zeros(n), r)
    return (torch.where(u < equal, a, t), torch.where(u < equal, a, r))


def spread(s):
    return s.view(-1, 1, 1, 1)


def cell_weights(given):
    """What the channel left open weighs most."""
    sure = given["cond"].amax(1, keepdim=True) * given["mask"]
    return torch.maximum(1 - sure, torch.full_like(sure, 0.1))


def flow_loss(net, x0, z, s, given, low):
    """Squared error of the velocity; levels below .2 count as if they were .2, or they would drown the rest."""
    x = (1 - spread(s)) * x0 + spread(s) * z
    with torch.autocast("cpu", torch.bfloat16):
        said = net(x, TIMES * s, *low)
    w = cell_weights(given) * spread(s / s.clamp(min=0.2)) ** 2
    return (w * (said.float() - (z - x0)) ** 2).mean() / cell_weights(given).mean()


def mean_loss(net, x0, z, t, r, given, low):
    """MeanFlow (Geng et al. 2025): u(x, r, t) should be v - (t - r) du/dt, the derivative along (v, 0, 1) by a forward-mode product.
    Where that would put x - t u outside -1..1, in which every mean of class bits lies, it is cut to it: near the decision between two classes
    the derivative is large, and without this the training drifts. The samples' weights are the paper's, 1 / (error + c), c = .01."""
    x = (1 - spread(t)) * x0 + spread(t) * z
    v = z - x0
    target = v.clone()
    apart = (t - r) > 1e-4
    if apart.any():
        pick = [g[apart] for g in given.values()]
        to, ro = t[apart], r[apart]
        u = lambda x, t, r: net(x, TIMES * t, TIMES * r, *pick)
        with torch.no_grad():
            _, slope = torch.func.jvp(u, (x[apart], to, ro), (v[apart], torch.ones_like(to), torch.zeros_like(ro)))
        wanted = v[apart] - spread(to - ro) * slope
        bits_said = (x[apart] - spread(to) * wanted).clamp(-1, 1)
        target[apart] = (x[apart] - bits_said) / spread(to)
    with torch.autocast("cpu", torch.bfloat16):
        said = net(x, TIMES * t, TIMES * r, *low)
    w = cell_weights(given)
    error = ((w * (said.float() - target) ** 2).mean((1, 2, 3)) / w.mean((1, 2, 3))) * (t / t.clamp(min=0.2)) ** 2
    return (error / (error.detach() + 0.01)).mean(), error.detach().mean()


def main():
    a = arguments()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    camvid, drives = Camvid(a.camvid).train, street(a.street) if a.street else []
    parts = [(0.75, camvid), (0.25, drives)] if drives else [(1.0, camvid)]
    print(f"{sum(map(len, camvid))} CamVid maps, {sum(map(len, drives))} street maps")

    net = Fill(two_times=a.mean).to(memory_format=torch.channels_last)
    if a.start and not os.path.exists(checkpoint(a.out)):
        missing, extra = net.load_state_dict(torch.load(a.start)["ema"], strict=False)
        print(f"begins with {a.start}; new: {missing}")
        assert not extra
    run = Run(a, net, Average(net), torch.optim.AdamW(net.parameters(), lr=a.rate, weight_decay=1e-3), WARM_UP)
    rng = torch.Generator().manual_seed(a.seed * 1_000_003 + run.start)
    loader = iter(Batches(parts, a.batch, a.seed, run.start, filled=False))

    def losses():
        batch = next(loader)
        given = inputs(batch)
        given = {k: given[k] for k in GIVEN}
        low = [given[k].to(memory_format=torch.channels_last) if given[k].dim() == 4 else given[k] for k in GIVEN]
        x0 = bits(batch["truth"])
        z = torch.randn(x0.shape, generator=rng)
        if a.mean:
            return mean_loss(net, x0, z, *two_times(len(x0), rng), given, low)
        loss = flow_loss(net, x0, z, levels(len(x0), rng), given, low)
        return loss, loss

    run.train(losses)
    print("now export_generative.py")


if __name__ == "__main__":
    main()
