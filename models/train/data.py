"""Label maps in, training samples out: sequences, augmentation, the simulated channel, the held scene."""
import glob
import os
import re

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

WIDTH, HEIGHT, NCLASS, UNKNOWN = 128, 96, 12, 255
TEST_RECORDING = "0001TP"
CALIBRATION_FRAMES = 21  # the end of 0006R0
FRAMES_A_SECOND = 30  # as CamVid numbers them


def read_map(path):
    """An index PNG as uint8 [rows, columns]; values past the label set become unlabelled."""
    return np.minimum(np.array(Image.open(path)), NCLASS - 1).astype(np.uint8)


def resample(source, x0=0.0, y0=0.0, size=1.0, flip=False):
    """Nearest sampling of a window (corner and size as fractions of the source) to the grid. The whole source by default."""
    sh, sw = source.shape
    if (x0, y0, size) == (0.0, 0.0, 1.0):
        cols = (2 * np.arange(WIDTH) + 1) * sw // (2 * WIDTH)
        rows = (2 * np.arange(HEIGHT) + 1) * sh // (2 * HEIGHT)
    else:
        cols = ((x0 + (np.arange(WIDTH) + 0.5) / WIDTH * size) * sw).astype(int)
        rows = ((y0 + (np.arange(HEIGHT) + 0.5) / HEIGHT * size) * sh).astype(int)
    if flip:
        cols = cols[::-1]
    return source[rows[:, None], cols[None, :]]


class Sequence(list):
    """Class maps, one every `period` seconds."""

    def __init__(self, maps, period):
        super().__init__(maps)
        self.period = period


def sequences(files):
    """Cuts files into runs of even spacing, a jump in time starts a new run -> [(files, period)]. Files are numbered at 30 a second."""
    numbered = sorted((int(re.search(r"(\d+)\.png$", f).group(1)), f) for f in files)
    runs, last_gap = [], None
    for i, (n, f) in enumerate(numbered):
        gap = n - numbered[i - 1][0] if i else None
        if i == 0 or gap > 60 or (last_gap is not None and abs(gap - last_gap) > 5):
            runs.append([])
            gap = None
        runs[-1].append((n, f))
        last_gap = gap
    period = lambda run: (run[-1][0] - run[0][0]) / (len(run) - 1) / FRAMES_A_SECOND
    return [([f for _, f in r], period(r)) for r in runs if len(r) > 1]


class Camvid:
    """The split by recording. Each split is a list of sequences of uint8 maps at their own size."""

    def __init__(self, root, test_too=False):
        files = glob.glob(os.path.join(root, "*", "label", "*.png"))
        if not files:
            raise SystemExit(f"{root}: no label PNGs under train/label or val/label")
        of = lambda r: [f for f in files if os.path.basename(f).startswith(r)]
        load = lambda files, period: Sequence([read_map(f) for f in files], period)
        *runs, (last, period) = sequences(of("0006R0"))
        runs += [(last[:-CALIBRATION_FRAMES], period), *sequences(of("0016E5"))]
        self.train = [load(*r) for r in runs]
        self.calibration = [load(last[-CALIBRATION_FRAMES:], period)]
        self.test = [load(*r) for r in sequences(of(TEST_RECORDING))] if test_too else []


def frames(root, recording):
    """(image, class map) of a recording in order, as the files have them."""
    files = sorted(glob.glob(os.path.join(root, "*", "image", recording + "_*.jpg")), key=os.path.basename)
    if not files:
        raise SystemExit(f"{root}: no image JPEGs of {recording} under train/image or val/image")
    label = lambda f: os.path.splitext(f.replace(f"{os.sep}image{os.sep}", f"{os.sep}label{os.sep}"))[0] + ".png"
    return [(Image.open(f).convert("RGB"), read_map(label(f))) for f in files]


def training_frames(root):
    """Every recording but 0001TP; of 0006R0 not the last 21 frames, as in data.py."""
    names = {os.path.basename(f).split("_")[0] for f in glob.glob(os.path.join(root, "*", "image", "*.jpg"))} - {TEST_RECORDING}
    return [f for r in sorted(names) for f in (frames(root, r)[:-CALIBRATION_FRAMES] if r == "0006R0" else frames(root, r))]


def street(root):
    """Drives of the procedural street, files SEED_FRAME.png."""
    drives = {}
    for f in sorted(glob.glob(os.path.join(root, "*.png"))):
        drives.setdefault(os.path.basename(f).rsplit("_", 1)[0], []).append(f)
    return [Sequence([read_map(f) for f in d], 0.1) for d in drives.values() if len(d) > 1]


def draw_noise(rng):
    """Noise level of a soft payload, log-uniform; mostly where argmax fails."""
    low = 0.25 if rng.random() < 0.8 else 0.08
    return float(np.exp(rng.uniform(np.log(low), np.log(2.3))))


class Channel:
    """What crosses one stream: a tiling of blocks or phases, a loss process, and for soft payloads a noise level."""

    def __init__(self, rng, tiling=None, loss=None, burst=None, soft=None, phases=None):
        self.rng = rng
        self.tiling = tiling or [(4, 2), (4, 2), (4, 2), (12, 4), (8, 4), (6, 4)][rng.integers(6)]
        self.soft = soft if soft is not None else (draw_noise(rng) if rng.random() < 0.45 else 0.0)
        self.four_bit = self.soft > 0 and rng.random() < 0.25
        self.phases = phases if phases is not None else rng.random() < 0.3
        if loss is None:
            loss = rng.uniform(0, 0.95)
            if self.soft and rng.random() < 0.75:
                loss = 0.0
            elif not self.soft and rng.random() < 0.04:
                loss = 0.0
        self.loss = loss
        self.burst = burst if burst is not None else (rng.uniform(2, 5) if rng.random() < 0.35 else 0.0)

    def received(self):
        """One frame's tiles: bool [HEIGHT, WIDTH], true where the cell arrived."""
        rows, cols = self.tiling
        n = rows * cols
        if self.burst and 0 < self.loss < 1:
            # Gilbert-Elliott: bad spells of mean length `burst`, share of bad tiles = loss.
            leave = 1 / self.burst
            enter = min(1.0, leave * self.loss / (1 - self.loss))
            lost = np.zeros(n, bool)
            bad = self.rng.random() < self.loss
            for i in range(n):
                lost[i] = bad
                bad = self.rng.random() >= leave if bad else self.rng.random() < enter
        else:
            lost = self.rng.random(n) < self.loss
        tiles = ~lost.reshape(rows, cols)
        if self.phases:
            return np.tile(tiles, (HEIGHT // rows, WIDTH // cols))
        return tiles.repeat(HEIGHT // rows, 0).repeat(WIDTH // cols, 1)


class Held:
    """The last class received in each cell and its age in seconds."""

    def __init__(self):
        self.cls = np.full((HEIGHT, WIDTH), UNKNOWN, np.uint8)
        self.age = np.zeros((HEIGHT, WIDTH), np.float32)

    def step(self, seconds):
        self.age += seconds

    def take(self, cls, received):
        self.cls = np.where(received, cls, self.cls)
        self.age = np.where(received, 0, self.age)

    def bare(self):
        """What the networks of street-flow and street-meanflow get as the held scene: (classes, freshness), nothing where nothing is held."""
        return self.cls, np.where(self.cls == UNKNOWN, 0.0, 2.0 ** (-self.age / 2)).astype(np.float32)

    def filled(self, shown, received):
        """What those of the receiver get: (classes, freshness). Where nothing is held, the class of the nearest cell of which
        something is known, held or now `shown`, and a freshness below 0, nearer to -1 the nearer that cell is."""
        is_held = self.cls != UNKNOWN
        cls = np.where(is_held, self.cls, np.where(received, shown, UNKNOWN))
        freshness = np.where(is_held, 2.0 ** (-self.age / 2), -1.0)
        unknown = cls == UNKNOWN
        if unknown.all():
            return cls, np.zeros_like(freshness, dtype=np.float32)
        if unknown.any():
            distance, (rows, cols) = ndimage.distance_transform_edt(unknown, return_indices=True)
            cls = cls[rows, cols]
            freshness = np.where(unknown, -2.0 ** (-distance / 8), freshness)
        return cls, freshness.astype(np.float32)


def soft_scores(cls, present, sigma, four_bit, rng):
    """AWGN on the one-hot scores of the present classes, as the payload quantizes them: [12, rows, columns], -inf for absent ones."""
    out = np.full((NCLASS,) + cls.shape, -np.inf, np.float32)
    step = np.float32(3 if four_bit else 51)
    for c in np.flatnonzero(present):
        v = rng.standard_normal(cls.shape, dtype=np.float32)
        v *= np.float32(sigma)
        v += cls == c
        np.clip(v, -2, 3, out=v)
        out[c] = np.rint(v * step) / step
    return out


def pool3(v, op, fill):
    """3x3 pooling of [n, rows, columns] by `op` over shifted views, borders padded with `fill`."""
    p = np.pad(v, ((0, 0), (1, 1), (1, 1)), constant_values=fill)
    p = op(op(p[:, :-2], p[:, 1:-1]), p[:, 2:])
    return op(op(p[:, :, :-2], p[:, :, 1:-1]), p[:, :, 2:])


def fast_denoise(scores):
    """Fast Denoising Semantic: average-pool 3, then max-pool 3, per class plane, then argmax. Border averages count the cells inside."""
    ids = np.flatnonzero(np.isfinite(scores[:, 0, 0]))
    inside = pool3(np.ones((1,) + scores.shape[1:], np.float32), np.add, 0)
    v = pool3(pool3(scores[ids], np.add, 0) / inside, np.maximum, -np.inf)
    return ids[v.argmax(0)].astype(np.uint8)


def as_received(scores, sigma):
    """The class map that a receiver keeps of a soft payload: argmax where the channel is good, else FDS."""
    return scores.argmax(0).astype(np.uint8) if sigma < 0.3 else fast_denoise(scores)


def mislabelled(cls, rng):
    """Labels as a segmenter gives them: borders off by a cell or two, and now and then a spot of another class."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    shift = lambda: np.rint(ndimage.zoom(rng.normal(0, 1.2, (HEIGHT // 8, WIDTH // 8)), 8, order=1)).astype(int)
    out = cls[np.clip(rows + shift(), 0, HEIGHT - 1), np.clip(cols + shift(), 0, WIDTH - 1)]
    for _ in range(rng.integers(0, 4)):
        y, x, h, w = rng.integers(HEIGHT), rng.integers(WIDTH), rng.uniform(1, 8), rng.uniform(1, 10)
        out = np.where(((rows - y) / h) ** 2 + ((cols - x) / w) ** 2 < 1, out[rng.integers(HEIGHT), rng.integers(WIDTH)], out)
    return out


def arrived(sent, truth, channel, held, rng, filled=True):
    """What a receiver has of a frame whose map `sent` crosses `channel`, where `truth` is: dict of arrays. `filled` says how the held scene is told."""
    present = np.bincount(sent.ravel(), minlength=NCLASS) > 0
    received = channel.received()
    scores = soft_scores(sent, present, channel.soft, channel.four_bit, rng) if channel.soft else one_hot(sent)
    cls, freshness = held.filled(as_received(scores, channel.soft) if channel.soft else sent, received) if filled else held.bare()
    return {
        "truth": truth,
        "received": received,
        "scores": scores,
        "sigma": np.float32(channel.soft),
        "held": cls,
        "freshness": freshness,
        "present": present,
    }


class Sampler:
    """Draws training samples. `parts` is a list of (share of the samples, sequences); `filled` says how the held scene is told."""

    def __init__(self, parts, seed, filled=True):
        self.filled = filled
        self.rng = np.random.default_rng(seed)
        self.parts = [s for _, s in parts]
        self.share = np.array([w for w, _ in parts], float)
        self.share /= self.share.sum()
        # A dense sequence holds little more than its end frames: weigh sequences by how much changes in them.
        self.weight = [np.array([sum((a != b).mean() for a, b in zip(q, q[1:])) for q in s]) for s in self.parts]
        self.weight = [w / w.sum() for w in self.weight]

    def sample(self):
        rng = self.rng
        part = rng.choice(len(self.parts), p=self.share)
        seq = self.parts[part][rng.choice(len(self.parts[part]), p=self.weight[part])]
        t = int(rng.integers(len(seq)))
        size = rng.uniform(0.65, 1.0) if rng.random() < 0.5 else 1.0
        window = (rng.uniform(0, 1 - size), rng.uniform(0, 1 - size), size) if size < 1 else (0.0, 0.0, 1.0)
        flip = rng.random() < 0.5
        channel = Channel(rng)
        history = 0 if rng.random() < 0.3 else int(rng.integers(1, 7))
        # Now and then the stream runs backwards, or shows every second frame.
        step = int(rng.choice([-2, -1, 1, 1, 1, 1, 2]))
        held = Held()
        for k in range(history, 0, -1):
            s = t - k * step
            held.step(seq.period * abs(step))
            if 0 <= s < len(seq):
                cls = resample(seq[s], *window, flip)
                if channel.soft and k <= 2:
                    present = np.bincount(cls.ravel(), minlength=NCLASS) > 0
                    cls = as_received(soft_scores(cls, present, channel.soft, channel.four_bit, rng), channel.soft)
                held.take(cls, channel.received())
        held.step(seq.period * abs(step))
        truth = resample(seq[t], *window, flip)
        sent = mislabelled(truth, rng) if rng.random() < 0.1 else truth
        sample = arrived(sent, truth, channel, held, rng, self.filled)
        if channel.soft:
            # The radio's own measurement of the SNR is off, or an estimate stands in for it.
            sample["sigma"] = np.float32(channel.soft * 10 ** (rng.normal(0, 1.5 if rng.random() < 0.15 else 0.3) / 20))
        elif not sample["received"].any() or rng.random() < 0.03:
            sample["present"] = np.ones(NCLASS, bool)  # nothing said which classes there are
        return sample


def one_hot(cls):
    """[12, rows, columns] f32."""
    return (cls[None] == np.arange(NCLASS, dtype=np.uint8)[:, None, None]).astype(np.float32)


def inputs(batch):
    """What the networks see, from a batch of samples as tensors: dict of cond, mask, held, age, present.

    Digital samples have sigma 0 and one-hot scores; soft ones become class posteriors of their noise level.
    """
    cond, sigma = batch["scores"].clone(), batch["sigma"]
    soft = sigma > 0
    cond[soft] = torch.softmax(cond[soft] / sigma[soft].view(-1, 1, 1, 1) ** 2, 1)
    mask = batch["received"].unsqueeze(1).float()
    return {
        "cond": cond * mask,
        "mask": mask,
        "held": bits(batch["held"]),
        "age": batch["freshness"].unsqueeze(1),
        "present": batch["present"].float(),
    }


def bits(cls):
    """Class index as 4 analog bits, most significant first, 0 -> -1, 1 -> +1; zeros where unknown. [n, h, w] -> [n, 4, h, w] f32."""
    sign = lambda weight: ((cls & weight) != 0).float() * 2 - 1
    return torch.stack([sign(w) for w in (8, 4, 2, 1)], 1) * (cls != UNKNOWN).unsqueeze(1)


class Batches(torch.utils.data.IterableDataset):
    """Endless batches; `skip` reseeds a resumed run so that it does not see its first batches again."""

    def __init__(self, parts, batch, seed, skip=0, filled=True):
        self.parts, self.batch, self.seed, self.skip, self.filled = parts, batch, seed, skip, filled

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        sampler = Sampler(self.parts, [self.seed, self.skip, worker.id if worker else 0], self.filled)
        while True:
            samples = [sampler.sample() for _ in range(self.batch)]
            yield {k: torch.from_numpy(np.stack([s[k] for s in samples])) for k in samples[0]}
