"""Trains the perceiver: photographs of streets in, class maps out. Seeded, resumes from its checkpoint.

    python models/train/train_perceive.py --camvid ../shared/data/camvid --out PERCEIVE_DIR
"""
import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from tqdm import tqdm

from data import CALIBRATION_FRAMES, NCLASS, TEST_RECORDING, frames, resample, training_frames
from perceive_net import IMAGE_HEIGHT, IMAGE_WIDTH, Perceive
from training import Run, parser

WARM_UP = 100


def photograph(image, box=None, flip=False):
    """A window of an image as the network has it, before it becomes numbers: RGB, 256x192."""
    out = image.resize((IMAGE_WIDTH, IMAGE_HEIGHT), Image.Resampling.BILINEAR, box=box)
    return out.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else out


def as_input(image):
    """RGB 256x192 -> f32 [3,192,256] in 0..1."""
    return np.asarray(image, np.float32).transpose(2, 0, 1) / 255


def worn(image, rng):
    """What cameras, codecs and generators do to a picture: light and colour of another hour, blur, a lossy codec, noise."""
    if rng.random() < 0.25:
        smaller = rng.uniform(0.4, 0.9)
        image = image.resize((int(IMAGE_WIDTH * smaller), int(IMAGE_HEIGHT * smaller)), Image.Resampling.BILINEAR)
        image = image.resize((IMAGE_WIDTH, IMAGE_HEIGHT), Image.Resampling.BILINEAR)
    elif rng.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    if rng.random() < 0.25:
        held = io.BytesIO()
        image.save(held, "WEBP", quality=int(rng.integers(0, 60)), method=0)
        image = Image.open(held).convert("RGB")
    v = as_input(image)
    v = v ** np.float32(np.exp(rng.normal(0, 0.35)))
    v = (v - v.mean()) * np.float32(np.exp(rng.normal(0, 0.25))) + v.mean() + np.float32(rng.normal(0, 0.12))
    grey = v.mean(0, keepdims=True)
    v = grey + (v - grey) * np.float32(rng.uniform(0, 1.6))
    v = v * np.exp(rng.normal(0, 0.08, (3, 1, 1))).astype(np.float32)
    if rng.random() < 0.3:
        v = v + rng.normal(0, rng.uniform(0, 0.06), v.shape).astype(np.float32)
    return np.clip(v, 0, 1).astype(np.float32)


def sample(frame, rng):
    """(image [3,192,256], classes [96,128])."""
    image, cls = frame
    size = rng.uniform(0.5, 1.0) if rng.random() < 0.7 else 1.0
    x0, y0 = rng.uniform(0, 1 - size), rng.uniform(0, 1 - size)
    flip = rng.random() < 0.5
    w, h = image.size
    picture = photograph(image, (x0 * w, y0 * h, (x0 + size) * w, (y0 + size) * h), flip)
    return worn(picture, rng), resample(cls, x0, y0, size, flip)


def scored(net, pool):
    """Of whole frames: (mean IoU over the classes that occur, share of cells)."""
    confusion = np.zeros((NCLASS, NCLASS))
    net.eval()
    with torch.no_grad():
        for i in range(0, len(pool), 16):
            part = pool[i:i + 16]
            said = net(torch.from_numpy(np.stack([as_input(photograph(image)) for image, _ in part]))).argmax(1).numpy()
            truth = np.stack([resample(cls) for _, cls in part])
            confusion += np.bincount((truth * NCLASS + said).ravel(), minlength=NCLASS ** 2).reshape(NCLASS, NCLASS)
    net.train()
    real = confusion[:NCLASS - 1]  # cells without a label are not judged
    hit = np.diag(real)
    iou = hit / np.maximum(1, real.sum(1) + real[:, :NCLASS - 1].sum(0) - hit)
    return iou[real.sum(1) > 0].mean(), hit.sum() / real.sum(), iou


class Average(AveragedModel):
    """Exponential moving average of the weights; batch norm counts anew with them at the end."""

    def __init__(self, net):
        super().__init__(net, multi_avg_fn=get_ema_multi_avg_fn(0.998))

    def state(self):
        return {"average": self.state_dict()}

    def resume(self, saved):
        self.load_state_dict(saved["average"])

    def update(self, net):
        self.update_parameters(net)


def main():
    a = parser(__doc__, iterations=100000, minutes=60, batch=8, rate=2e-3).parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    pool = training_frames(a.camvid)
    counts = sum(np.bincount(cls.ravel(), minlength=NCLASS) for _, cls in pool)
    weights = (counts.sum() / counts) ** 0.5
    weights = torch.from_numpy(weights / (weights * counts).sum() * counts.sum()).float()
    print(f"{len(pool)} frames; weights {[round(w, 2) for w in weights.tolist()]}")

    net = Perceive().to(memory_format=torch.channels_last)
    average = Average(net)
    run = Run(a, net, average, torch.optim.AdamW(net.parameters(), lr=a.rate, weight_decay=1e-2), WARM_UP, clip=2.0)
    rng = np.random.default_rng([a.seed, run.start])

    def batch():
        parts = [sample(pool[i], rng) for i in rng.integers(len(pool), size=a.batch)]
        images = torch.from_numpy(np.stack([p[0] for p in parts])).to(memory_format=torch.channels_last)
        return images, torch.from_numpy(np.stack([p[1] for p in parts])).long()

    def losses():
        images, truth = batch()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(images)
        loss = F.cross_entropy(logits.float(), truth, weight=weights)
        return loss, loss

    run.train(losses)
    update_bn((batch()[0] for _ in tqdm(range(60), desc="batch norm")), average)
    run.save()
    for name, part in (("calibration", frames(a.camvid, "0006R0")[-CALIBRATION_FRAMES:]), (TEST_RECORDING, frames(a.camvid, TEST_RECORDING))):
        mean, right, iou = scored(average.module, part)
        print(f"{name}: mIoU {100 * mean:.1f}, cells {100 * right:.1f} %, by class {[round(100 * v) for v in iou.tolist()]}")


if __name__ == "__main__":
    main()
