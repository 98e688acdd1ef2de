"""`LatentHead`: decides from the deep feature of the restore network, so that no map is decoded."""
import torch
import torch.nn.functional as F
from torch import nn

from nets import SIGMA_MAX, up


def deep_of(restore, x, sigma, cond, mask, held, age, present):
    """What `Restore.forward` has after `mid_out`: [n,192,12,16]."""
    s = sigma.reshape(-1, 1)
    e = restore.embed(torch.cat([torch.log(s) / 4, present], 1))
    x = x * (1 / torch.sqrt(s * s + 1))[:, :, None, None].to(x.dtype)
    log_cond = torch.log(torch.clamp(cond, min=1e-4))
    half = restore.half_in(restore.inp(torch.cat([x, cond, mask, held, age, log_cond * 0.25], 1)), e)
    mid = restore.mid_in(restore.down1(restore.fine_in(restore.down0(half), e)), e)
    h = restore.down2(mid)
    for b in restore.deep:
        h = b(h, e)
    return restore.mid_out(restore.join2(torch.cat([up(h), mid], 1)), e)


class LatentHead(nn.Module):
    """The provisional decision, corrected by what the restore network's coarse part knows."""

    def __init__(self, deep=192, squeezed=16, hidden=128):
        super().__init__()
        self.squeeze1 = nn.Conv2d(deep, 48, 1)
        self.squeeze2 = nn.Conv2d(48, squeezed, 3, padding=1)
        self.mix = nn.Linear(squeezed * 12 * 16 + 16 + 27, hidden)
        self.fix_free, self.fix_hazard = nn.Linear(hidden, 16), nn.Linear(hidden, 27)
        for m in (self.fix_free, self.fix_hazard):
            nn.init.zeros_(m.weight)
            nn.init.zeros_(m.bias)

    def forward(self, deep, first_free, first_hazard):
        """deep [n,192,12,16], free [n,16] and hazard logits [n,27] of the head -> free [n,16] in 0..1, hazard logits [n,27]."""
        h = F.silu(self.squeeze2(F.silu(self.squeeze1(deep))))
        bounded = torch.clamp(first_hazard, -12, 12) / 6
        seen = F.silu(self.mix(torch.cat([h.flatten(1), first_free, bounded], 1)))
        return torch.clamp(first_free + self.fix_free(seen), 0, 1), first_hazard + self.fix_hazard(seen)


def pure_noise(n, rng):
    """x and sigma of the one-step case."""
    return SIGMA_MAX * torch.randn(n, 4, 96, 128, generator=rng), torch.full((n,), SIGMA_MAX)
