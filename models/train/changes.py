"""What is likely to change between a key frame and the frames that lean on it: the weights of the codec's delta tiles.

    python models/train/changes.py --camvid ../shared/data/camvid --street DIR --out models/priors/changes.bin

Counts, over pairs of frames up to ten frames apart in the drives of DIR and up to three apart in CamVid's training recordings: in which surroundings a
cell changes, and whose class it takes then. Each pair counts twice: with all its changes, and with those alone that the rule's reading asks for, as
`semrx send --delta task` sends them. docs/codec.md has the contexts.
"""
import argparse

import numpy as np
from tqdm import tqdm

import rule
from data import Camvid, resample, street

ROWS, COLUMNS = 4, 2  # tiles of a map
CONTEXTS, RANKS = 1024, 4


def reading(m):
    return rule.hazards(m[None])[0].tobytes() + rule.free_space(m[None])[0].tobytes()


def told(cur, ref):
    """`ref` with as few of the changes to `cur` as the rule needs to read what it reads in `cur`."""
    want, cur, runs = reading(cur), cur.copy(), []
    for y in range(cur.shape[0]):
        for xs in np.split(np.arange(cur.shape[1]), np.flatnonzero(np.diff(cur[y]) | np.diff(cur[y] != ref[y])) + 1):
            if cur[y, xs[0]] != ref[y, xs[0]]:
                runs.append((y, xs[0], xs[-1] + 1))

    def revert(runs):
        old = [cur[y, a:b].copy() for y, a, b in runs]
        for y, a, b in runs:
            cur[y, a:b] = ref[y, a:b]
        if reading(cur) == want:
            return
        for (y, a, b), cells in zip(runs, old):
            cur[y, a:b] = cells
        if len(runs) > 1:
            revert(runs[:len(runs) // 2])
            revert(runs[len(runs) // 2:])

    revert(runs)
    return cur


def shifted(cells, dy, dx, outside):
    """Each cell's neighbour at (dy, dx); `outside` where it lies outside the tile."""
    h, w = cells.shape
    out = outside.copy()
    ys, xs = slice(max(0, -dy), min(h, h - dy)), slice(max(0, -dx), min(w, w - dx))
    out[ys, xs] = cells[max(0, dy):min(h, h + dy), max(0, dx):min(w, w + dx)]
    return out


def count(cur, ref, changes, ranks):
    """Adds one tile's cells to changes [1024, 2] and ranks [3 candidates, west changed, north changed, rank]."""
    changed, no = cur != ref, np.zeros(cur.shape, bool)
    flag = lambda dy, dx: shifted(changed, dy, dx, no).astype(int)
    side = lambda dy, dx: 2 * flag(dy, dx) + (shifted(cur, dy, dx, ref) != ref)
    context = 4 * side(0, -1) + side(-1, 0)
    for dy, dx in ((-1, -1), (-1, 1), (0, -2), (-2, 0)):
        context = 2 * context + flag(dy, dx)
    for dy, dx in ((0, 1), (1, 0)):
        context = 2 * context + (shifted(ref, dy, dx, ref) != ref)
    np.add.at(changes, (context.ravel(), changed.ravel().astype(int)), 1)
    around = [shifted(cur, *at, ref) for at in ((0, -1), (-1, 0), (-1, 1), (-1, -1))] + [shifted(ref, *at, ref) for at in ((0, 1), (1, 0))]
    west, north = flag(0, -1), flag(-1, 0)
    for y, x in np.argwhere(changed):
        found = []
        for cells in around:
            if cells[y, x] != ref[y, x] and cells[y, x] not in found and len(found) < RANKS - 1:
                found.append(cells[y, x])
        if found:
            rank = found.index(cur[y, x]) if cur[y, x] in found else RANKS - 1
            ranks[len(found) - 1, west[y, x], north[y, x], rank] += 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid")
    p.add_argument("--street", required=True, help="folder of procedural street maps, SEED_FRAME.png")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    parts = [(street(a.street), (1, 2, 3, 4, 5, 6, 7, 8, 9), 10), (Camvid(a.camvid).train, (1, 2, 3), 6)]
    pairs = [(s[key], s[key + by]) for sequences, apart, step in parts for s in sequences
             for key in range(0, len(s), step) for by in apart if key + by < len(s)]
    changes, ranks = np.zeros((CONTEXTS, 2)), np.zeros((3, 2, 2, RANKS))
    bits = {"all": [], "task": []}
    for key, frame in tqdm(pairs):
        ref, frame = resample(key), resample(frame)
        for kind, cur in (("all", frame), ("task", told(frame, ref))):
            own = np.zeros_like(changes)
            h, w = ref.shape[0] // ROWS, ref.shape[1] // COLUMNS
            for y in range(0, ref.shape[0], h):
                for x in range(0, ref.shape[1], w):
                    tile = np.s_[y:y + h, x:x + w]
                    if (cur[tile] != ref[tile]).any():
                        count(cur[tile], ref[tile], own, ranks)
            changes += own
            bits[kind].append(own)
    share = np.log((changes[:, 1] + 0.4) / (changes[:, 0] + 0.4))
    logits = np.clip(np.rint(32 * share), -383, 383).astype("<i2")
    p = 1 / (1 + np.exp(-logits / 32))
    for kind, counts in bits.items():
        total = sum((-(c[:, 1] * np.log2(p) + c[:, 0] * np.log2(1 - p))).sum() for c in counts)
        print(f"{kind}: {total / 8 / len(counts):.1f} bytes a frame say which cells change")
    weights = np.maximum(1, np.rint(4096 * (ranks + 0.5) / (ranks + 0.5).sum(-1, keepdims=True))).astype("<u2")
    print("ranks:", np.round(weights / 4096, 2).reshape(12, 4).tolist())
    with open(a.out, "wb") as f:
        f.write(b"SRXC" + logits.tobytes() + weights.tobytes())


if __name__ == "__main__":
    main()
