"""Bakes the priors of the map codec: models/priors/*.bin. The layout of a blob and its arithmetic are in docs/codec.md.

    python models/train/priors.py --camvid ../shared/data/camvid --out models/priors

Trains on the maps of recordings 0006R0 and 0016E5 in train/, never on 0001TP or on val/. One thread, about 20 minutes, the same bytes for the same seed and torch.
"""
import argparse
import glob
import os
import struct

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

RECORDINGS = ("0006R0", "0016E5")
CLASSES, OUTSIDE, NONE = 12, 255, 12
FIRST, SECOND = 64, 16
COLUMNS, ROWS, FLAT_ROWS = 16, 12, 24
BORDERS = 245
VALUE_ONE, SECOND_ONE, WEIGHT_ONE, LOGIT_ONE = 256, 4096, 1024, 32
FIRST_CLIP, SECOND_CLIP = 2047 / VALUE_ONE, 4095 / VALUE_ONE
TILE_ROWS, TILE_COLS = 4, 2


def offsets():
    """(dx, dy) of the neighbours in the order in which candidates are found: the near ones first, by distance in each group."""
    near = {0: range(-5, 0), -1: range(-4, 6), -2: range(-4, 5), -3: range(-3, 4)}
    wide = {0: range(-7, 0), -1: range(-6, 8), -2: range(-5, 7), -3: range(-4, 5), -4: range(-3, 4), -5: range(-2, 3)}
    first = [(-1, 0), (0, -1), (1, -1), (-1, -1)]

    def ordered(rows, without):
        cells = [(dx, dy) for dy, columns in rows.items() for dx in columns if (dx, dy) not in without]
        return sorted(cells, key=lambda p: (p[0] ** 2 + p[1] ** 2 + 0.1 * (p[0] > 0), p[1]))

    near = first + ordered(near, first)
    return near + ordered(wide, near), len(near)


OFFSETS, NEAR = offsets()


def read_maps(folder):
    files = [f for f in sorted(glob.glob(os.path.join(folder, "*.png"))) if os.path.basename(f)[:6] in RECORDINGS]
    if not files:
        raise SystemExit(f"{folder}: no maps of recordings {', '.join(RECORDINGS)}")
    return np.stack([np.minimum(np.array(Image.open(f)), CLASSES - 1).astype(np.uint8) for f in files])


def resample(maps, width, height, rng=None, flip=False):
    """Nearest sampling to a grid; with `rng`, of a random window of 87 to 100 % of either side."""
    if flip:
        maps = maps[:, :, ::-1]
    sides = []
    for source, cells in ((maps.shape[2], width), (maps.shape[1], height)):
        if rng is None:
            sides.append((2 * np.arange(cells) + 1) * source // (2 * cells))
        else:
            size = source / rng.uniform(1, 1.15)
            start = rng.uniform(0, source - size)
            sides.append(np.minimum((start + (np.arange(cells) + 0.5) * size / cells).astype(int), source - 1))
    return np.ascontiguousarray(maps[:, sides[1]][:, :, sides[0]])


def contexts(maps, rng, share):
    """Cells of the default tiling: those that the network predicts (a random `share` of them), and the flat ones."""
    count, height, width = maps.shape
    reach = max(max(abs(dx), abs(dy)) for dx, dy in OFFSETS)
    present = np.stack([(maps == c).any((1, 2)) for c in range(CLASSES)], 1)
    cells, flats = [], []
    for tile in range(TILE_ROWS * TILE_COLS):
        row, col = divmod(tile, TILE_COLS)
        y0, y1 = row * height // TILE_ROWS, (row + 1) * height // TILE_ROWS
        x0, x1 = col * width // TILE_COLS, (col + 1) * width // TILE_COLS
        part = maps[:, y0:y1, x0:x1]
        h, w = y1 - y0, x1 - x0
        padded = np.full((count, h + reach, w + 2 * reach), OUTSIDE, np.uint8)
        padded[:, reach:, reach : reach + w] = part
        views = [padded[:, reach + dy : reach + dy + h, reach + dx : reach + dx + w] for dx, dy in OFFSETS]
        one = np.full(part.shape, OUTSIDE, np.uint8)
        flat = np.ones(part.shape, bool)
        for view in views[:NEAR]:
            one = np.where(one == OUTSIDE, view, one)
            flat &= (view == OUTSIDE) | (view == one)
        flat &= one != OUTSIDE
        born = flat & (part != one)

        m, y, x = np.nonzero(flat)
        border = np.minimum(x, 6) * 35 + np.minimum(w - 1 - x, 6) * 5 + np.minimum(y, 4)
        place = (y + y0) * FLAT_ROWS // height * COLUMNS + (x + x0) * COLUMNS // width
        flats.append(np.stack([one[m, y, x], place, border, born[m, y, x]], 1).astype(np.int32))

        m, y, x = np.nonzero((~flat | born) & ((rng.random(part.shape) < share) if share < 1 else True))
        candidates = np.full((3, len(m)), OUTSIDE, np.uint8)
        codes = np.empty((len(m), len(OFFSETS)), np.uint8)
        for k, view in enumerate(views):
            value = view[m, y, x]
            inside = value != OUTSIDE
            known = np.zeros(len(m), bool)
            codes[:, k] = np.where(inside, 3, 4)
            for rank in range(3):
                candidates[rank] = np.where((candidates[rank] == OUTSIDE) & inside & ~known, value, candidates[rank])
                equal = inside & (candidates[rank] == value)
                codes[equal, k] = rank
                known |= equal
        cells.append(
            {
                "codes": codes,
                "candidates": np.where(candidates == OUTSIDE, NONE, candidates).T.copy(),
                "place": ((y + y0) * ROWS // height * COLUMNS + (x + x0) * COLUMNS // width).astype(np.uint8),
                "present": present[m],
                "truth": part[m, y, x],
                "born": born[m, y, x],
            }
        )
    merged = {key: torch.from_numpy(np.concatenate([c[key] for c in cells])) for key in cells[0]}
    return merged, np.concatenate(flats)


class Network(torch.nn.Module):
    """The codec's network in floats. Without `classes` it sees shapes only."""

    def __init__(self, classes):
        super().__init__()
        self.with_classes = classes
        rows = 5 * len(OFFSETS) + ((CLASSES + 1) * (CLASSES + 2) + ROWS * COLUMNS if classes else 0)
        self.rows = torch.nn.EmbeddingBag(rows, FIRST, mode="sum")
        torch.nn.init.normal_(self.rows.weight, 0, 0.15)
        self.bias = torch.nn.Parameter(torch.zeros(FIRST))
        self.present = torch.nn.Parameter(torch.zeros(CLASSES, FIRST))
        self.second = torch.nn.Linear(FIRST, SECOND)
        self.out = torch.nn.Linear(SECOND, 3 + (CLASSES if classes else 0))

    def forward(self, cell):
        index = [cell["codes"].long() + 5 * torch.arange(len(OFFSETS))]
        if self.with_classes:
            base = 5 * len(OFFSETS)
            candidates = cell["candidates"].long()
            index.append(base + candidates[:, :1] * (CLASSES + 1) + candidates[:, 1:2])
            base += (CLASSES + 1) ** 2
            index.append(base + candidates[:, 2:])
            index.append(base + CLASSES + 1 + cell["place"].long()[:, None])
        first = self.rows(torch.cat(index, 1)) + self.bias
        if self.with_classes:
            first = first + cell["present"].float() @ self.present
        first = first.clamp(0, FIRST_CLIP)
        return self.out(self.second(first).clamp(0, SECOND_CLIP))


def bits(logits, cell):
    """What each cell costs."""
    truth, candidates = cell["truth"].long(), cell["candidates"].long()
    log_sigmoid = torch.nn.functional.logsigmoid
    left = cell["present"].sum(1)
    cost = torch.zeros(len(truth))
    open_ = torch.ones(len(truth), dtype=torch.bool)
    for rank in range(3):
        is_it = truth == candidates[:, rank]
        asked = open_ & (candidates[:, rank] != NONE) & (left > rank + 1)
        if rank == 0:
            asked &= ~cell["born"]
        cost = cost - torch.where(asked, log_sigmoid(torch.where(is_it, logits[:, rank], -logits[:, rank])), 0.0)
        open_ &= ~is_it
    possible = torch.cat([cell["present"], torch.zeros(len(truth), 1, dtype=torch.bool)], 1)
    possible = possible.scatter(1, candidates, False)[:, :CLASSES]
    escape = logits[:, 3:] if logits.shape[1] > 3 else torch.zeros(len(truth), CLASSES)
    escape = escape.masked_fill(~possible, -1e4)
    escape = torch.logsumexp(escape, 1) - escape.gather(1, truth[:, None])[:, 0]
    return (cost + torch.where(open_, escape, 0.0)) / np.log(2)


def train_network(cells, classes, passes, name, rate=4e-3, batch=2048):
    count = len(cells["truth"])
    network = Network(classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    steps = int(passes * (count // batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.05)
    average = None
    progress = tqdm(range(steps), desc=name, mininterval=5)
    for step in progress:
        at = step % (count // batch)
        if at == 0:
            order = torch.randperm(count)
        chosen = order[at * batch : (at + 1) * batch]
        cell = {key: value[chosen] for key, value in cells.items()}
        loss = bits(network(cell), cell).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average = loss.item() if average is None else 0.99 * average + 0.01 * loss.item()
        progress.set_postfix(bits_a_cell=f"{average:.4f}")
    return network


class Flat(torch.nn.Module):
    """Logit that a flat cell goes on: by class and place, smoothed through a small layer, plus one by border."""

    def __init__(self, classes, width=24):
        super().__init__()
        self.with_classes = classes
        tables = {"c": CLASSES, "x": COLUMNS, "y": FLAT_ROWS, "cy": CLASSES * FLAT_ROWS}
        self.tables = torch.nn.ModuleDict({key: torch.nn.Embedding(n, width) for key, n in tables.items()})
        for table in self.tables.values():
            torch.nn.init.normal_(table.weight, 0, 0.1)
        self.out = torch.nn.Linear(width, 1)
        self.border = torch.nn.Parameter(torch.full((BORDERS,), 6.0))

    def place_logit(self, one, place):
        y, x = place // COLUMNS, place % COLUMNS
        t = self.tables
        return self.out(torch.relu(t["c"](one) + t["x"](x) + t["y"](y) + t["cy"](one * FLAT_ROWS + y)))[:, 0]

    def forward(self, one, place, border):
        return self.border[border] + (self.place_logit(one, place) if self.with_classes else 0.0)


def train_flat(flats, classes, name, steps=300, rate=1e-2):
    shape = (CLASSES, FLAT_ROWS * COLUMNS, BORDERS)
    index = np.ravel_multi_index(tuple(flats[:, :3].T), shape)
    counts = np.bincount(index, minlength=np.prod(shape))
    keys = counts.nonzero()[0]
    born = torch.tensor(np.bincount(index, weights=flats[:, 3], minlength=np.prod(shape))[keys], dtype=torch.float32)
    stays = torch.tensor(counts[keys], dtype=torch.float32) - born
    keys = torch.from_numpy(np.stack(np.unravel_index(keys, shape), 1))
    model = Flat(classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    log_sigmoid = torch.nn.functional.logsigmoid
    for step in tqdm(range(steps), desc=name + " flat", mininterval=5):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        logit = model(*keys.T)
        loss = -(stays * log_sigmoid(logit) + born * log_sigmoid(-logit)).sum() / len(flats) * 1e3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def fixed(values, one, kind):
    info = np.iinfo(kind)
    return np.clip(np.rint(values.detach().double().numpy() * one), info.min, info.max).astype(kind)


def blob(network, flat):
    """The weights as docs/codec.md lays them out."""
    rows = network.rows.weight.detach()
    codes = rows[: 5 * len(OFFSETS)].view(len(OFFSETS), 5, FIRST)
    # Code 0 adds nothing: what it added goes to the bias.
    bias = network.bias + codes[:, 0].sum(0)
    neighbours = (codes[:, 1:] - codes[:, :1]).reshape(-1, FIRST)
    # A sum of values times weights is shifted down to a logit in 1/32: half of that step makes it round to the nearest.
    half_logit = (VALUE_ONE * WEIGHT_ONE // LOGIT_ONE) // 2
    wide = VALUE_ONE * WEIGHT_ONE
    out, out_bias = network.out.weight, fixed(network.out.bias, wide, np.int32) + half_logit
    border = flat.border + (flat.out.bias if flat.with_classes else 0.0)
    arrays = [
        fixed(bias, VALUE_ONE, np.int16),
        fixed(neighbours, VALUE_ONE, np.int16),
        fixed(network.second.weight, SECOND_ONE, np.int16),
        fixed(network.second.bias, VALUE_ONE, np.int16),
        fixed(out[:3], WEIGHT_ONE, np.int16),
        out_bias[:3],
        fixed(border, LOGIT_ONE, np.int16),
    ]
    if network.with_classes:
        one, place = torch.meshgrid(torch.arange(CLASSES), torch.arange(FLAT_ROWS * COLUMNS), indexing="ij")
        table = flat.place_logit(one.reshape(-1), place.reshape(-1)) - flat.out.bias
        arrays += [
            fixed(rows[5 * len(OFFSETS) :], VALUE_ONE, np.int16),
            fixed(network.present, VALUE_ONE, np.int16),
            fixed(out[3:], WEIGHT_ONE, np.int16),
            out_bias[3:],
            fixed(table, LOGIT_ONE, np.int16),
        ]
    little = [a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays]
    return b"SRXP" + struct.pack("<H", network.with_classes) + b"".join(little)


def join(samples):
    return {key: torch.cat([s[key] for s in samples]) for key in samples[0]}


def samples(maps, width, height, rng, copies, share):
    """Cells of the maps as they are, mirrored, and from random windows. Flat ones from the first two alone."""
    cells, flats = [], []
    for copy in tqdm(range(copies), desc=f"{width}x{height} samples"):
        sampled = resample(maps, width, height, rng if copy > 1 else None, flip=copy % 2 == 1)
        cell, flat = contexts(sampled, rng, share)
        cells.append(cell)
        if copy < 2:
            flats.append(flat)
    return join(cells), np.concatenate(flats)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", default="../shared/data/camvid", help="folder with train/label")
    parser.add_argument("--out", default="models/priors")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--copies", type=int, default=6, help="copies of each map at 128x96; the first two are the map and its mirror image")
    parser.add_argument("--passes", type=float, default=2.0)
    parser.add_argument("--only", choices=["small", "large", "generic"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    maps = read_maps(os.path.join(args.camvid, "train", "label"))
    os.makedirs(args.out, exist_ok=True)

    def bake(name, grids, classes):
        torch.manual_seed(args.seed)
        rng = np.random.default_rng(args.seed)
        cells, flats = zip(*[samples(maps, w, h, rng, copies, share) for w, h, copies, share in grids])
        network = train_network(join(cells), classes, args.passes, name)
        data = blob(network, train_flat(np.concatenate(flats), classes, name))
        path = os.path.join(args.out, name + ".bin")
        with open(path, "wb") as file:
            file.write(data)
        print(f"{path}: {len(data)} bytes")

    if args.only in (None, "small"):
        bake("camvid12-128x96", [(128, 96, args.copies, 1)], True)
    if args.only in (None, "large"):
        bake("camvid12-480x360", [(480, 360, args.copies, 0.15)], True)
    if args.only in (None, "generic"):
        bake("generic", [(128, 96, 2, 1), (480, 360, 2, 0.15)], False)


if __name__ == "__main__":
    main()
