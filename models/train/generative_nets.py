"""The networks of the bundles that `semrx sample` samples: `Fill` of street-flow and street-meanflow, `View` of street-view."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from data import HEIGHT, NCLASS, WIDTH, bits
from nets import SHUFFLE, Block, up

TIMES = 1000  # num_train_timesteps: the model is told 1000 s
FLOOR = 1e-3  # the lowest level that a flow's schedule tells
VIEW_WIDTH, VIEW_HEIGHT = 64, 48
CODES = bits(torch.arange(NCLASS, dtype=torch.uint8).view(1, 1, NCLASS))[0, :, 0]  # [4, 12]: the bits of each class


def waves(s):
    """A time in 0..1 as smooth features: [n, 1] -> [n, 8]."""
    angles = torch.cat([s * (math.pi * k) for k in (0.5, 1.0, 2.0, 4.0)], 1)
    return torch.cat([torch.sin(angles), torch.cos(angles)], 1)


def odds_to_one(logits):
    """Softmax over the channels, written out for the exported graph as in nets.py, with room for the evidence of clean bits."""
    if not torch.onnx.is_in_onnx_export():
        return torch.softmax(logits, 1)
    odds = torch.exp(torch.clamp(logits, -80, 80))
    return odds / odds.sum(1, keepdim=True)


class Fill(nn.Module):
    """The velocity z - x0 of x = (1 - s) x0 + s z, x0 the class bits; with `two_times`, its mean between the times t and r.

    Inside, it says what x0 is: a U-Net on 24x32 gives the prior of a cell, the channel and the bits of x their evidence, and the classes'
    probabilities the expected bits. The velocity is (x - x0) / s. A mean velocity has the same form, with x0 averaged over the way.
    """

    def __init__(self, two_times=False, base=48, deep=80, emb=64):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(8 + NCLASS, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.ahead = nn.Linear(8, emb) if two_times else None
        if two_times:  # starts as the network that knows no r
            nn.init.zeros_(self.ahead.weight)
            nn.init.zeros_(self.ahead.bias)
        self.inp = nn.Conv2d(4 + 2 * NCLASS + 1 + 4 + 1, base, SHUFFLE, stride=SHUFFLE)  # unshuffle and 1x1 in one
        self.fine_in = Block(base, emb)
        self.down1 = nn.Conv2d(base, deep, 3, stride=2, padding=1)
        self.mid_in = Block(deep, emb)
        self.down2 = nn.Conv2d(deep, deep, 3, stride=2, padding=1)
        self.deep = Block(deep, emb)
        self.join2 = nn.Conv2d(2 * deep, deep, 1)
        self.mid_out = Block(deep, emb)
        self.join1 = nn.Conv2d(deep + base, base, 1)
        self.fine_out = Block(base, emb)
        self.out_norm = nn.GroupNorm(8, base)
        self.out = nn.Conv2d(base, NCLASS * SHUFFLE ** 2, 1)
        self.likelihood = nn.Conv2d(NCLASS, NCLASS, 3, padding=1, bias=False)
        nn.init.zeros_(self.likelihood.weight)
        with torch.no_grad():
            for c in range(NCLASS):
                self.likelihood.weight[c, c] = 0.2
                self.likelihood.weight[c, c, 1, 1] = 1.0
        constant = lambda name, value: self.register_buffer(name, value.contiguous(), persistent=False)
        constant("to_bits", CODES.view(4, NCLASS, 1, 1))
        constant("to_classes", CODES.t().reshape(NCLASS, 4, 1, 1))

    def forward(self, x, t, *given):
        """x [n,4,96,128], t [n] (with two times, then r [n]), cond [n,12,96,128], held [n,4,96,128], age [n,1,96,128], present [n,12],
        mask [n,1,96,128] -> velocity [n,4,96,128]."""
        r, (cond, held, age, present, mask) = (given[0], given[1:]) if self.ahead is not None else (None, given)
        s = t.reshape(-1, 1) * (1 / TIMES)
        e = self.embed[0](torch.cat([waves(s), present], 1))
        if r is not None:
            e = e + self.ahead(waves(s - r.reshape(-1, 1) * (1 / TIMES)))
        for layer in self.embed[1:]:
            e = layer(e)
        log_cond = torch.log(torch.clamp(cond, min=1e-4))
        h = self.inp(torch.cat([x, cond, mask, held, age, log_cond * 0.25], 1))
        fine = self.fine_in(h, e)
        mid = self.mid_in(self.down1(fine), e)
        h = self.deep(self.down2(mid), e)
        h = self.mid_out(self.join2(torch.cat([up(h), mid], 1)), e)
        h = self.join1(torch.cat([up(h), fine], 1))
        h = self.fine_out(h, e)
        prior = F.pixel_shuffle(self.out(F.silu(self.out_norm(h))), SHUFFLE).float()
        plane = lambda v: v[:, :, None, None]
        told = plane((1 - s) / (s * s + 0.1))  # how much x says of a bit: (1 - s) / s^2, less where that explodes
        evidence = F.conv2d(x * told, self.to_classes) + self.likelihood(log_cond).float()
        p = odds_to_one(prior + evidence - plane(30.0 * (1 - present)))
        x0 = F.conv2d(p, self.to_bits)
        return (x - x0) * plane(1 / torch.clamp(s, min=FLOOR))


def blank_fill(two_times, batch=1):
    """Inputs of the right shapes with nothing received, in the order of `Fill.forward`."""
    z = lambda c: torch.zeros(batch, c, HEIGHT, WIDTH)
    times = (torch.full((batch,), 1000.0),) + ((torch.zeros(batch),) if two_times else ())
    return (z(4),) + times + (z(NCLASS), z(4), z(1), torch.ones(batch, NCLASS), z(1))


class Step(nn.Module):
    """A residual block with the timestep's scale and shift before its second convolution."""

    def __init__(self, channels, emb):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.scale, self.shift = nn.Linear(emb, channels), nn.Linear(emb, channels)
        for m in (self.conv2, self.scale, self.shift):
            nn.init.zeros_(m.weight)
            nn.init.zeros_(m.bias)

    def forward(self, x, e):
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        h = h * (1 + self.scale(e)[:, :, None, None]) + self.shift(e)[:, :, None, None]
        return x + self.conv2(F.silu(h))


class View(nn.Module):
    """The noise in an RGB image of 64x48, given the class map of its street: a U-Net on 2x2 patches, without attention.

    `shallow` is the outermost encoder and decoder block; `deep`, which stands between them, takes most of the work and changes slowly from
    step to step: what DeepCache keeps.
    """

    def __init__(self, fine=32, deep=96, emb=96):
        super().__init__()
        self.register_buffer("rates", torch.exp(-math.log(10000.0) * torch.arange(32) / 32).view(1, 32), persistent=False)
        self.embed = nn.Sequential(nn.Linear(64, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.inp = nn.Conv2d(3 + NCLASS, fine, 2, stride=2)  # unshuffle and 1x1 in one
        self.fine_in = Step(fine, emb)
        self.down1 = nn.Conv2d(fine, deep, 3, stride=2, padding=1)
        self.mid_in = nn.ModuleList([Step(deep, emb), Step(deep, emb)])
        self.down2 = nn.Conv2d(deep, deep, 3, stride=2, padding=1)
        self.bottom = nn.ModuleList([Step(deep, emb)])
        self.join2 = nn.Conv2d(2 * deep, deep, 1)
        self.mid_out = nn.ModuleList([Step(deep, emb), Step(deep, emb)])
        self.give = nn.Conv2d(deep, fine, 1)
        self.join1 = nn.Conv2d(2 * fine, fine, 1)
        self.fine_out = Step(fine, emb)
        self.out_norm = nn.GroupNorm(8, fine)
        self.out = nn.Conv2d(fine, 3 * 4, 3, padding=1)
        self.through = nn.Linear(emb, 3)  # share of x in the answer: near all of it where x is all noise
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def embedded(self, t):
        angles = t.reshape(-1, 1) * self.rates
        return self.embed(torch.cat([torch.sin(angles), torch.cos(angles)], 1))

    def encode(self, x, t, condition):
        e = self.embedded(t)
        return e, self.fine_in(self.inp(torch.cat([x, condition], 1)), e)

    def decode(self, x, e, fine, deep):
        h = self.fine_out(self.join1(torch.cat([up(deep), fine], 1)), e)
        said = F.pixel_shuffle(self.out(F.silu(self.out_norm(h))), 2)
        return said + x * self.through(e)[:, :, None, None]

    def forward(self, x, t, condition):
        """x [n,3,48,64], t [n], condition [n,12,48,64], one-hot or all zero -> noise [n,3,48,64], deep [n,32,12,16]."""
        e, fine = self.encode(x, t, condition)
        mid = self.down1(fine)
        for b in self.mid_in:
            mid = b(mid, e)
        h = self.down2(mid)
        for b in self.bottom:
            h = b(h, e)
        h = self.join2(torch.cat([up(h), mid], 1))
        for b in self.mid_out:
            h = b(h, e)
        deep = self.give(h)
        return self.decode(x, e, fine, deep), deep


class Shallow(nn.Module):
    """The part of a `View` that a cached step runs."""

    def __init__(self, view):
        super().__init__()
        for name in ("embed", "inp", "fine_in", "join1", "fine_out", "out_norm", "out", "through"):
            setattr(self, name, getattr(view, name))
        self.register_buffer("rates", view.rates, persistent=False)

    embedded, encode, decode = View.embedded, View.encode, View.decode

    def forward(self, x, t, condition, deep):
        e, fine = self.encode(x, t, condition)
        return self.decode(x, e, fine, deep)


def blank_view(batch=1):
    """Inputs of `View`, and the deep feature."""
    given = torch.zeros(batch, 3, VIEW_HEIGHT, VIEW_WIDTH), torch.full((batch,), 500.0), torch.zeros(batch, NCLASS, VIEW_HEIGHT, VIEW_WIDTH)
    return given, torch.zeros(batch, 32, VIEW_HEIGHT // 4, VIEW_WIDTH // 4)
