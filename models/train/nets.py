"""The two networks: `Restore` fills in a class map, `Head` decides from what is known of it."""
import functools

import torch
import torch.nn.functional as F
from torch import nn

import rule
from data import HEIGHT, NCLASS, WIDTH

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
SHUFFLE = 4


class Film(nn.Module):
    """GroupNorm, then a scale and a shift from the embedding."""

    def __init__(self, channels, emb):
        super().__init__()
        self.channels = channels
        self.norm = nn.GroupNorm(8, channels)
        self.affine = nn.Linear(emb, 2 * channels)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x, e):
        a = self.affine(e)[:, :, None, None].to(x.dtype)
        return self.norm(x) * (1 + a[:, :self.channels]) + a[:, self.channels:]


class Block(nn.Module):
    def __init__(self, channels, emb):
        super().__init__()
        self.film1, self.film2 = Film(channels, emb), Film(channels, emb)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, e):
        h = self.conv1(F.silu(self.film1(x, e)))
        return x + self.conv2(F.silu(self.film2(h, e)))


def up(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def odds_to_one(logits):
    """Softmax over the channels; written out in the exported graph, as engines are slow at one that is not over the last axis."""
    if not torch.onnx.is_in_onnx_export():
        return torch.softmax(logits, 1)
    odds = torch.exp(torch.clamp(logits, -40, 40))
    return odds / odds.sum(1, keepdim=True)


class Restore(nn.Module):
    """x0 as class logits in class-bit space: a U-Net on 48x64, 24x32, 12x16 and 6x8, then a small tail at full resolution.

    The trunk gives the prior of a cell; the log of `cond`, filtered over 5x5 cells, is what the channel says of it. The tail looks at their
    product once more, as one step of a mean-field filter.
    """

    def __init__(self, half=24, base=64, deep=192, emb=128):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(1 + NCLASS, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        self.inp = nn.Conv2d(4 + 2 * NCLASS + 1 + 4 + 1, half, 2, stride=2)
        self.half_in = Block(half, emb)
        self.down0 = nn.Conv2d(half, base, 3, stride=2, padding=1)
        self.fine_in = Block(base, emb)
        self.down1 = nn.Conv2d(base, deep, 3, stride=2, padding=1)
        self.mid_in = Block(deep, emb)
        self.down2 = nn.Conv2d(deep, deep, 3, stride=2, padding=1)
        self.deep = nn.ModuleList([Block(deep, emb), Block(deep, emb)])
        self.join2 = nn.Conv2d(2 * deep, deep, 1)
        self.mid_out = Block(deep, emb)
        self.join1 = nn.Conv2d(deep + base, base, 1)
        self.fine_out = Block(base, emb)
        self.join0 = nn.Conv2d(base + half, half, 1)
        self.half_out = Block(half, emb)
        self.out_norm = nn.GroupNorm(8, half)
        self.out = nn.Conv2d(half, NCLASS * 4, 1)
        self.drop = nn.Dropout2d(0.1)
        self.tail1 = nn.Conv2d(2 * NCLASS, 16, 3, padding=1)
        self.tail2 = nn.Conv2d(16, NCLASS, 3, padding=1)
        nn.init.zeros_(self.tail2.weight)
        nn.init.zeros_(self.tail2.bias)
        # The held scene at full resolution: where it is fresh, and where the nearest cell stands in for it.
        signs = (2 * ((torch.arange(NCLASS)[:, None] >> torch.tensor([3, 2, 1, 0])) & 1) - 1).float()
        self.register_buffer("codes", signs.view(NCLASS, 4, 1, 1), persistent=False)
        self.memory = nn.Conv2d(2 * NCLASS, NCLASS, 3, padding=1, bias=False)
        nn.init.zeros_(self.memory.weight)
        self.likelihood = nn.Conv2d(NCLASS, NCLASS, 5, padding=2, bias=False)
        nn.init.zeros_(self.likelihood.weight)
        with torch.no_grad():
            for c in range(NCLASS):
                self.likelihood.weight[c, c, 1:4, 1:4] = 0.2
                self.likelihood.weight[c, c, 2, 2] = 1.0

    def forward(self, x, sigma, cond, mask, held, age, present):
        """x [n,4,96,128], sigma [n], cond [n,12,96,128], mask [n,1,96,128], held [n,4,96,128], age [n,1,96,128], present [n,12]
        -> logits [n,12,96,128]."""
        s = sigma.reshape(-1, 1)
        e = self.embed(torch.cat([torch.log(s) / 4, present], 1))
        x = x * (1 / torch.sqrt(s * s + 1))[:, :, None, None].to(x.dtype)
        log_cond = torch.log(torch.clamp(cond, min=1e-4))
        half = self.half_in(self.inp(torch.cat([x, cond, mask, held, age, log_cond * 0.25], 1)), e)
        fine = self.fine_in(self.down0(half), e)
        mid = self.mid_in(self.down1(fine), e)
        h = self.down2(mid)
        for b in self.deep:
            h = self.drop(b(h, e))
        h = self.mid_out(self.join2(torch.cat([up(h), mid], 1)), e)
        h = self.fine_out(self.join1(torch.cat([up(h), fine], 1)), e)
        h = self.half_out(self.join0(torch.cat([up(h), half], 1)), e)
        prior = F.pixel_shuffle(self.out(F.silu(self.out_norm(h))), 2)
        log_cond = log_cond.to(prior.dtype)
        shown = F.relu(F.conv2d(held, self.codes.to(held.dtype)) - 3)  # one-hot, nothing where no bits are held
        memory = torch.cat([shown * F.relu(age), shown * F.relu(-age)], 1)
        first = prior + self.likelihood(log_cond) + self.memory(memory) - (30.0 * (1 - present)[:, :, None, None]).to(prior.dtype)
        t = torch.cat([odds_to_one(first).to(prior.dtype), log_cond * 0.25], 1)
        return first + self.tail2(F.silu(self.tail1(t)))


GROUPS = [[8], [9, 10], [1, 2, 6, 7], [3], [11], [0, 4, 5]]  # vehicle, person, structure, road, unlabelled, rest
ROAD, UNLABELLED = 3, 4


class Posterior(nn.Module):
    """What each cell may be, from everything round it: logits of the six groups at full resolution, and features at 24x32 and 6x8."""

    def __init__(self, fine=32, mid=40, deep=64):
        super().__init__()
        conv = lambda i, o, stride=1: nn.Conv2d(i, o, 3, stride=stride, padding=1)
        self.inp = nn.Conv2d(NCLASS + 1 + 4 + 1, fine, SHUFFLE, stride=SHUFFLE)
        self.present = nn.Linear(NCLASS, fine)
        self.fine_in = conv(fine, fine)
        self.down1 = conv(fine, mid, 2)
        self.mid_in = conv(mid, mid)
        self.down2 = conv(mid, deep, 2)
        self.deep1, self.deep2 = conv(deep, deep), conv(deep, deep)
        self.join2 = nn.Conv2d(deep, mid, 1)
        self.mid_out = conv(mid, mid)
        self.join1 = nn.Conv2d(mid, fine, 1)
        self.fine_out = conv(fine, fine)
        self.out = nn.Conv2d(fine, len(GROUPS) * SHUFFLE ** 2, 1)
        self.held1 = nn.Conv2d(5, 16, 1)
        self.held2 = nn.Conv2d(16, len(GROUPS), 1)

    def forward(self, cond, mask, held, age, present):
        h = self.inp(torch.cat([cond, mask, held, age], 1))
        fine = F.silu(h + self.present(present)[:, :, None, None])
        fine = fine + F.silu(self.fine_in(fine))
        mid = F.silu(self.down1(fine))
        mid = mid + F.silu(self.mid_in(mid))
        deep = F.silu(self.down2(mid))
        deep = deep + F.silu(self.deep1(deep))
        deep = deep + F.silu(self.deep2(deep))
        mid = mid + up(self.join2(deep))
        mid = mid + F.silu(self.mid_out(mid))
        h = fine + up(self.join1(mid))
        h = h + F.silu(self.fine_out(h))
        logits = F.pixel_shuffle(self.out(h), SHUFFLE)
        return logits + self.held2(F.relu(self.held1(torch.cat([held, age], 1)))), h, deep


class Head(nn.Module):
    """The rule, made soft: exact where every cell is known, an estimate where some are not.

    Known cells are passed through; the others take the posterior network's word. Counts and column runs follow the rule;
    learned corrections are gated by the share of doubtful cells, so that they vanish when nothing is in doubt.
    """

    def __init__(self):
        super().__init__()
        self.posterior = Posterior()
        zone = torch.from_numpy(rule.zones(WIDTH, HEIGHT)).flatten()
        cells, needs = rule.zone_needs(zone.numpy())
        in_zone = torch.stack([zone == z for z in range(9)], 1).float()
        group = torch.zeros(len(GROUPS), NCLASS)
        for g, classes in enumerate(GROUPS):
            group[g, classes] = 1
        coarse = F.avg_pool2d(in_zone.t().view(9, 1, HEIGHT, WIDTH), SHUFFLE).flatten(1).t()
        constant = lambda name, value: self.register_buffer(name, value, persistent=False)
        constant("group", group.view(len(GROUPS), NCLASS, 1, 1))
        constant("in_zone", in_zone)  # [cells, 9]
        constant("in_zone_coarse", coarse / coarse.sum(0))  # [768, 9], columns sum to 1
        constant("cells", torch.from_numpy(cells).float().view(1, 1, 9))
        constant("needs", torch.from_numpy(needs).float().view(1, 1, 9))
        constant("below", torch.tril(torch.ones(HEIGHT, HEIGHT)).t().contiguous())  # row y sums rows y..bottom
        self.scale = nn.Parameter(torch.full((1, 3, 9), 6.0))
        self.spread = nn.Parameter(torch.full((1, 3, 9), 1.0))
        self.evidence = nn.Conv2d(len(GROUPS), len(GROUPS), 3, padding=1, groups=len(GROUPS), bias=False)
        nn.init.constant_(self.evidence.weight, 0.3)
        with torch.no_grad():
            self.evidence.weight[:, :, 1, 1] = 1.0
        self.row_doubt = nn.Parameter(torch.zeros(1))
        features = 9 * 32 + 48 * 4 + 3 * 9 + 9 + 16 + NCLASS
        self.squeeze = nn.Conv2d(64, 4, 1)
        self.mix = nn.Linear(features, 96)
        self.fix_hazard = nn.Linear(96, 27)
        self.fix_free = nn.Linear(96, 16)
        for m in (self.fix_hazard, self.fix_free):
            nn.init.zeros_(m.weight)
            nn.init.zeros_(m.bias)

    def cells_of(self, cond, mask, held, age, present):
        """Probabilities of the six groups per cell, the share of doubt per cell, and the posterior's features."""
        with torch.autocast(cond.device.type, torch.bfloat16, enabled=self.training):
            logits, fine, deep = (t.float() for t in self.posterior(cond, mask, held, age, present))
        said = F.conv2d(cond, self.group)
        top = functools.reduce(torch.maximum, [said[:, g:g + 1] for g in range(len(GROUPS))])
        sure = torch.clamp(20 * top - 18.9, 0, 1) * mask
        guess = odds_to_one(logits + self.evidence(torch.log(torch.clamp(said, min=1e-4))))
        return sure * said + (1 - sure) * guess, 1 - sure, fine, deep

    def forward(self, cond, mask, held, age, present, with_cells=False):
        """cond [n,12,96,128], mask [n,1,96,128], held [n,4,96,128], age [n,1,96,128], present [n,12]
        -> free [n,16] in 0..1, hazard logits [n,27] (zone * 3 + type)."""
        p, doubt, fine, deep = self.cells_of(cond, mask, held, age, present)
        types = p[:, :3].reshape(-1, 3, HEIGHT * WIDTH)
        unsure = doubt.reshape(-1, 1, HEIGHT * WIDTH)
        sums = torch.cat([types, types * (1 - types) * unsure, unsure], 1) @ self.in_zone  # [n, 7, 9]
        count, variance, doubts = sums[:, :3], sums[:, 3:6], sums[:, 6:] / self.cells
        margin = F.softplus(self.scale) * (count - self.needs + 0.5) / (1 + F.softplus(self.spread) * variance)
        margin = margin / (1 + torch.abs(margin) / 12)  # within -12..12, sign kept

        size = WIDTH // rule.COLUMNS
        bands = p[:, ROAD:UNLABELLED + 1].reshape(-1, 2, HEIGHT, rule.COLUMNS, size).sum(4)
        road, own = bands[:, 0], bands[:, 1]  # [n, 96, 16]
        row_doubt = doubt.reshape(-1, HEIGHT, rule.COLUMNS, size).mean(3)
        k = 24 / (1 + F.softplus(self.row_doubt) * 8 * row_doubt)
        drivable = torch.sigmoid(k * (2 * road - size + own + 0.5)) * torch.sigmoid(k * (road - 0.5))
        own = torch.sigmoid(k * (own - size + 0.5))
        bonnet = torch.exp(self.below @ torch.log(own + 1e-6))
        run = torch.exp(self.below @ torch.log(torch.clamp(drivable + bonnet, 1e-6, 1)))
        passed, hood = run.sum(1), bonnet.sum(1)
        free = passed * torch.clamp(passed - hood, 0, 1) / HEIGHT

        pooled = (fine.reshape(-1, 32, self.in_zone_coarse.shape[0]) @ self.in_zone_coarse).reshape(-1, 32 * 9)
        squeezed = F.silu(self.squeeze(deep)).reshape(-1, 4 * 48)
        seen = torch.cat([pooled, squeezed, margin.reshape(-1, 27) / 12, doubts.reshape(-1, 9), free, present], 1)
        seen = F.silu(self.mix(seen))
        by_pair = lambda v: v.transpose(1, 2).reshape(-1, 27)
        gate = by_pair(torch.cat([doubts, doubts, doubts], 1))
        hazard = by_pair(margin) + torch.clamp(4 * gate, 0, 1) * self.fix_hazard(seen)
        free = torch.clamp(free + torch.clamp(4 * row_doubt.mean(1), 0, 1) * self.fix_free(seen), 0, 1)
        return (free, hazard, p, doubt) if with_cells else (free, hazard)


def macs(net, *inputs):
    """Multiply-accumulates of the convolutions and linear layers in one forward, by hooks on the real shapes."""
    total = [0]

    def count(m, _, out):
        if isinstance(m, nn.Conv2d):
            total[0] += out[0].numel() * m.in_channels // m.groups * m.kernel_size[0] * m.kernel_size[1]
        else:
            total[0] += m.in_features * m.out_features

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        net(*inputs)
    for h in hooks:
        h.remove()
    return total[0]


def blank(batch=1):
    """Inputs of the right shapes with nothing received: (cond, mask, held, age, present)."""
    z = lambda c: torch.zeros(batch, c, HEIGHT, WIDTH)
    return z(NCLASS), z(1), z(4), z(1), torch.ones(batch, NCLASS)
