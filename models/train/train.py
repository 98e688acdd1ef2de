"""Trains both networks of the bundle. One command, seeded, resumes from its checkpoint.

    python models/train/train.py --camvid ../shared/data/camvid --street DIR --out CHECKPOINT_DIR
"""
import argparse
import contextlib
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

import rule
import score
from data import NCLASS, Batches, Camvid, bits, inputs, resample, street
from nets import GROUPS, SIGMA_MAX, Head, Restore
from start import start as start_from

WARM_UP = 200  # iterations of rising learning rate
HEAD_EVERY = 2  # the head converges sooner than the restore network: it takes every second batch


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid", help="folder with train/label and val/label (default: %(default)s)")
    p.add_argument("--street", help="folder of procedural street maps, SEED_FRAME.png; two fifths of the samples when given")
    p.add_argument("--out", required=True, help="folder of the checkpoint; an unfinished run there is resumed")
    p.add_argument("--start", metavar="BUNDLE", help="begin with the weights of this bundle that have a place")
    p.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (default: %(default)s)")
    p.add_argument("--all-recordings", action="store_true", help="train on every recording, the test set too: for weights without test figures")
    p.add_argument("--iterations", type=int, default=12000)
    p.add_argument("--minutes", type=float, default=90, help="the schedule ends here if the iterations have not (default: %(default)s)")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=0, help="0: all cores")
    p.add_argument("--workers", type=int, default=0, help="processes that make batches beside the training")
    return p.parse_args()


class Average:
    """Exponential moving average of a network's weights."""

    def __init__(self, net, decay=0.999):
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in net.state_dict().items()}
        self.steps = 0

    def state(self):
        """What a checkpoint keeps of it."""
        return {"ema": self.weights}

    def resume(self, saved):
        self.weights, self.steps = saved["ema"], saved["iteration"]

    @torch.no_grad()
    def update(self, net):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.weights.values()), list(net.state_dict().values()), 1 - decay)


def class_weights(sequences):
    """Inverse fourth root of the frequency, mean one over the cells; unlabelled counts a third."""
    count = np.zeros(NCLASS)
    for seq in sequences:
        for m in seq:
            count += np.bincount(m.ravel(), minlength=NCLASS) / m.size
    w = (count / count.sum() + 1e-3) ** -0.25
    w[NCLASS - 1] *= 0.3
    w /= (w * count / count.sum()).sum()
    return torch.from_numpy(w).float()


def hazard_weights(sequences):
    """Weight of the positives of each of the 27 pairs: rare ones count more."""
    share = rule.hazards(np.stack([resample(m) for seq in sequences for m in seq])).mean(0)
    return torch.from_numpy(np.clip(np.sqrt((1 - share) / (share + 1e-3)), 0.7, 3)).float()


def noise_levels(n, rng):
    """Levels of x: pure noise for most (the one-step case), log-normal for the others (the later steps)."""
    later = torch.exp(0.3 + 1.2 * torch.randn(n, generator=rng)).clamp(0.05, SIGMA_MAX)
    return torch.where(torch.rand(n, generator=rng) < 0.6, torch.full((n,), SIGMA_MAX), later)


def restore_loss(logits, truth, given, soft, weights):
    """Class cross-entropy on all cells; what the channel left open weighs most."""
    sure = (given["cond"].amax(1) * given["mask"][:, 0])
    floor = torch.where(soft > 0, 0.3, 0.1).view(-1, 1, 1)
    weight = torch.maximum(1 - sure, floor) * weights[truth]
    return (F.cross_entropy(logits, truth, reduction="none") * weight).sum() / weight.sum()


def head_loss(head, truth, given, targets, positive):
    free, hazard, cells, doubt = head(**given, with_cells=True)
    hazards, frees = targets
    group = torch.zeros(NCLASS, dtype=torch.long, device=truth.device)
    for g, classes in enumerate(GROUPS):
        group[classes] = g
    likely = cells.gather(1, group[truth].unsqueeze(1)).clamp(min=1e-6)
    fill = -(torch.log(likely) * doubt).sum() / (doubt.sum() + 1)
    return F.binary_cross_entropy_with_logits(hazard, hazards, pos_weight=positive) + 3 * F.l1_loss(free, frees) + 0.3 * fill


def refined(logits, given):
    """The scene after refinement, as the receiver feeds it to the head again: intact cells put back, every cell known."""
    intact = given["mask"] * (given["cond"].amax(1, keepdim=True) > 0.999)
    cond = torch.softmax(logits, 1) * (1 - intact) + given["cond"] * intact
    return given | {"cond": cond, "mask": torch.ones_like(given["mask"])}


def main():
    a = arguments()
    torch.manual_seed(a.seed)
    if a.threads:
        torch.set_num_threads(a.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    os.makedirs(a.out, exist_ok=True)
    path = os.path.join(a.out, "checkpoint.pt")

    camvid = Camvid(a.camvid, test_too=True)
    real = camvid.train + (camvid.calibration + camvid.test if a.all_recordings else [])
    drives = street(a.street) if a.street else []
    parts = [(0.6, real), (0.4, drives)] if drives else [(1.0, real)]
    print(f"{sum(map(len, real))} CamVid maps, {sum(map(len, drives))} street maps, on {device}")

    restore = Restore().to(device, memory_format=torch.channels_last)
    head = Head().to(device)
    if a.start and not os.path.exists(path):
        for name, net in (("restore", restore), ("head", head)):
            print("{}: {} of {} tensors from {}".format(name, *start_from(net, a.start, name), a.start))
    averages = {"restore": Average(restore), "head": Average(head)}
    groups = [list(restore.parameters()), list(head.parameters())]
    optimizer = torch.optim.AdamW([{"params": g} for g in groups], lr=1e-3, weight_decay=1e-3)
    start, spent = 0, 0.0
    if os.path.exists(path):
        saved = torch.load(path, map_location=device)
        restore.load_state_dict(saved["restore"])
        head.load_state_dict(saved["head"])
        optimizer.load_state_dict(saved["optimizer"])
        for k, average in averages.items():
            average.weights, average.steps = saved["ema"][k], saved["iteration"]
        start, spent = saved["iteration"], saved["seconds"]
        print(f"resumed at iteration {start}, {spent / 60:.0f} minutes in")

    def save(iteration, seconds):
        state = {
            "restore": restore.state_dict(),
            "head": head.state_dict(),
            "optimizer": optimizer.state_dict(),
            "ema": {k: v.weights for k, v in averages.items()},
            "iteration": iteration,
            "seconds": seconds,
            "arguments": vars(a),
        }
        torch.save(state, path + ".part")
        os.replace(path + ".part", path)

    precision = lambda: torch.autocast(device.type, torch.bfloat16)
    weights, positive = class_weights(real).to(device), hazard_weights(real).to(device)
    rng = torch.Generator().manual_seed(a.seed * 1_000_003 + start)
    loader = iter(torch.utils.data.DataLoader(Batches(parts, a.batch, a.seed, start), batch_size=None, num_workers=a.workers))
    began, saved_at, scored_at = time.time() - spent, time.time(), time.time()
    bar = tqdm(total=a.iterations, initial=start, mininterval=10, dynamic_ncols=True)
    smooth = {"restore": 0.0, "head": 0.0}
    iteration = start
    while True:
        progress = max(iteration / a.iterations, (time.time() - began) / 60 / a.minutes)
        if progress >= 1:
            break
        rate = min(1, (iteration + 1) / WARM_UP) * (0.01 * a.rate + 0.5 * 0.99 * a.rate * (1 + math.cos(math.pi * progress)))
        for g in optimizer.param_groups:
            g["lr"] = rate

        batch = {k: v.to(device) for k, v in next(loader).items()}
        given, truth = inputs(batch), batch["truth"].long()
        sigma = noise_levels(len(truth), rng).to(device)
        noise = torch.randn((len(truth), 4) + truth.shape[1:], generator=rng).to(device)
        x = bits(batch["truth"]) + sigma.view(-1, 1, 1, 1) * noise
        optimizer.zero_grad(set_to_none=True)
        with precision():
            low = {k: v.bfloat16() for k, v in given.items()}
            logits = restore(x.bfloat16(), sigma, **low)
        logits = logits.float()
        loss = restore_loss(logits, truth, given, batch["sigma"], weights)
        loss.backward()
        losses = {"restore": loss.item()}
        if iteration % HEAD_EVERY == 0:
            again = (torch.rand(len(truth), generator=rng) < min(0.3, iteration / 5000)).to(device)
            with torch.no_grad():
                better = refined(logits.detach(), given)
                pick = lambda old, new: torch.where(again.view((-1,) + (1,) * (old.dim() - 1)), new, old)
                seen = {k: pick(given[k], better[k]) for k in given}
                maps = batch["truth"].cpu().numpy()
                targets = [torch.from_numpy(f(maps)).float().to(device) for f in (rule.hazards, rule.free_space)]
            loss = head_loss(head, truth, seen, targets, positive)
            loss.backward()
            losses["head"] = loss.item()
        for g in groups:
            torch.nn.utils.clip_grad_norm_(g, 1.0)
        optimizer.step()
        averages["restore"].update(restore)
        averages["head"].update(head)
        iteration += 1

        for k, v in losses.items():
            if not math.isfinite(v):
                raise SystemExit(f"iteration {iteration}: the loss of {k} is {v}")
            smooth[k] += (v - smooth[k]) * max(0.01, 1 / (iteration - start))
        bar.set_postfix(restore=f"{smooth['restore']:.3f}", head=f"{smooth['head']:.3f}", lr=f"{rate:.1e}", refresh=False)
        bar.update()
        if time.time() - saved_at > 180:
            save(iteration, time.time() - began)
            saved_at = time.time()
        if time.time() - scored_at > 900:
            with quiet(device):
                print("\n" + score.quick(score.from_weights({k: v.weights for k, v in averages.items()}, device), camvid), flush=True)
            scored_at = time.time()
    bar.close()
    save(iteration, time.time() - began)
    print(score.quick(score.from_weights({k: v.weights for k, v in averages.items()}, device), camvid))
    print(f"{iteration} iterations in {(time.time() - began) / 60:.0f} minutes: {path}; now export.py and score.py")


@contextlib.contextmanager
def quiet(device):
    """Scoring draws numbers of its own: the training's stay as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


if __name__ == "__main__":
    main()
