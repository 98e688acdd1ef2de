"""`Regenerate`: the velocity of a noisy photograph, given what arrived of its class map."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from data import NCLASS
from nets import up

TIMES = 1000  # num_train_timesteps: the model is told 1000 s
PATCH = 4


class Spade(nn.Module):
    """GroupNorm, then a scale and a shift for each place from the map, and for each channel from the time."""

    def __init__(self, channels, told, emb):
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.scale, self.shift = nn.Conv2d(told, channels, 3, padding=1), nn.Conv2d(told, channels, 3, padding=1)
        self.time = nn.Linear(emb, channels)
        for m in (self.scale, self.shift, self.time):
            nn.init.zeros_(m.weight)
            nn.init.zeros_(m.bias)

    def forward(self, x, told, e):
        return self.norm(x) * (1 + self.scale(told)) + self.shift(told) + self.time(e)[:, :, None, None]


class Block(nn.Module):
    def __init__(self, channels, told, emb):
        super().__init__()
        self.spade1, self.spade2 = Spade(channels, told, emb), Spade(channels, told, emb)
        self.conv1, self.conv2 = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, told, e):
        h = self.conv1(F.silu(self.spade1(x, told, e)))
        return x + self.conv2(F.silu(self.spade2(h, told, e)))


class Regenerate(nn.Module):
    """A U-Net on 4x4 patches. What hangs on the map alone, `told` and its scales and shifts, is the same at every step: an engine computes it once."""

    def __init__(self, fine=64, deep=128, told=48, emb=64):
        super().__init__()
        self.register_buffer("rates", torch.exp(-math.log(10000.0) * torch.arange(32) / 32).view(1, 32), persistent=False)
        self.embed = nn.Sequential(nn.Linear(64, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.tell = nn.Sequential(nn.Conv2d(NCLASS + 1 + 4 + 1, told, PATCH, stride=PATCH), nn.SiLU(), nn.Conv2d(told, told, 3, padding=1), nn.SiLU())
        self.tell_deep = nn.Sequential(nn.Conv2d(told, told, 3, stride=2, padding=1), nn.SiLU(), nn.Conv2d(told, told, 3, padding=1), nn.SiLU())
        self.inp = nn.Conv2d(3, fine, PATCH, stride=PATCH)
        self.fine_in = nn.ModuleList([Block(fine, told, emb), Block(fine, told, emb)])
        self.down = nn.Conv2d(fine, deep, 3, stride=2, padding=1)
        self.deep = nn.ModuleList([Block(deep, told, emb) for _ in range(3)])
        self.join = nn.Conv2d(deep + fine, fine, 1)
        self.fine_out = nn.ModuleList([Block(fine, told, emb), Block(fine, told, emb)])
        self.out_norm = nn.GroupNorm(8, fine)
        self.out = nn.Conv2d(fine, 3 * PATCH ** 2, 3, padding=1)
        self.through = nn.Linear(emb, 3)  # share of x in the answer
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, t, cond, mask, held, age):
        """x [n,3,96,128], RGB in -1..1 and noise, t [n], cond [n,12,96,128], mask [n,1,96,128], held [n,4,96,128], age [n,1,96,128]
        -> velocity [n,3,96,128]."""
        angles = t.reshape(-1, 1) * self.rates
        e = self.embed(torch.cat([torch.sin(angles), torch.cos(angles)], 1))
        told = self.tell(torch.cat([cond, mask, held, age], 1))
        told_deep = self.tell_deep(told)
        fine = self.inp(x)
        for b in self.fine_in:
            fine = b(fine, told, e)
        h = self.down(fine)
        for b in self.deep:
            h = b(h, told_deep, e)
        h = self.join(torch.cat([up(h), fine], 1))
        for b in self.fine_out:
            h = b(h, told, e)
        said = F.pixel_shuffle(self.out(F.silu(self.out_norm(h))), PATCH)
        return said + x * self.through(e)[:, :, None, None]
