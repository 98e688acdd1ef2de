"""The comparison U-Net: a denoiser of the usual build (GroupNorm, SiLU, FiLM from the timestep) with seeded weights.

1.5 M parameters, 1x(3+12)x64x128 -> 1x3x64x128, 1.51 GMAC of convolutions.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Res(nn.Module):
    """Two convolutions, each behind GroupNorm and SiLU; the timestep scales and shifts what comes between them."""

    def __init__(self, cin, cout, embedding):
        super().__init__()
        self.n1, self.c1 = nn.GroupNorm(8, cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.t = nn.Linear(embedding, cout * 2)
        self.n2, self.c2 = nn.GroupNorm(8, cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, t):
        h = self.c1(functional.silu(self.n1(x)))
        scale, shift = self.t(t)[:, :, None, None].chunk(2, 1)
        return self.c2(functional.silu(self.n2(h) * (1 + scale) + shift)) + self.skip(x)


class UNet(nn.Module):
    def __init__(self, cin=15, cout=3, channels=32, multiples=(1, 2, 4)):
        super().__init__()
        embedding = channels * 4
        self.frequencies = channels // 2
        self.embed = nn.Sequential(nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.first = nn.Conv2d(cin, channels, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        c, skips = channels, []
        for multiple in multiples:
            self.down.append(Res(c, channels * multiple, embedding))
            c = channels * multiple
            skips.append(c)
            if len(skips) < len(multiples):
                self.shrink.append(nn.Conv2d(c, c, 3, stride=2, padding=1))
        self.mid, self.up = Res(c, c, embedding), nn.ModuleList()
        for multiple, skip in zip(reversed(multiples), reversed(skips), strict=True):
            self.up.append(Res(c + skip, channels * multiple, embedding))
            c = channels * multiple
        self.last = nn.Sequential(nn.GroupNorm(8, c), nn.SiLU(), nn.Conv2d(c, cout, 3, padding=1))

    def forward(self, x, cond, t):
        step = 9.21 / (self.frequencies - 1)
        angles = t[:, None] * torch.exp(-torch.arange(self.frequencies, dtype=torch.float32) * step)
        e = self.embed(torch.cat([angles.sin(), angles.cos()], 1))
        h, skips = self.first(torch.cat([x, cond], 1)), []
        for level, block in enumerate(self.down):
            h = block(h, e)
            skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](h)
        h = self.mid(h, e)
        for level, block in enumerate(self.up):
            if level:
                h = functional.interpolate(h, scale_factor=2, mode="nearest")
            h = block(torch.cat([h, skips[-1 - level]], 1), e)
        return self.last(h)


# Of the mean magnitude of what comes out. ncnn's fast convolutions are the least exact in f32.
F32_ERROR = 0.01
INT8_ERROR = 0.15


def seeded():
    torch.manual_seed(0)
    return UNet().eval()


def samples():
    """Inputs by name: one to trace the network with, then those for calibration."""
    rng = np.random.default_rng(0)

    def draw(timestep):
        return {
            "x": rng.standard_normal((1, 3, 64, 128)).astype(np.float32),
            "cond": rng.standard_normal((1, 12, 64, 128)).astype(np.float32),
            "t": np.array([timestep], np.float32),
        }

    return [draw(timestep) for timestep in (500.0, 800.0, 600.0, 400.0, 200.0)]


def check(name, got, limit):
    """A converted network that computes something else would be timed for nothing: exits where the mean error is above `limit`."""
    example = samples()[0]
    with torch.no_grad():
        expected = seeded()(*(torch.from_numpy(value) for value in example.values())).numpy()
    error = float(np.abs(got - expected).mean() / np.abs(expected).mean())
    if not error <= limit:
        sys.exit(f"error: {name}: what comes out is {error:.3f} of its magnitude off torch's, {limit} at most is allowed for")
