"""Trains the latent head on a restore network and a head that stay as they are. Seeded.

    python models/train/train_latent.py --camvid ../shared/data/camvid --street DIR --checkpoint CHECKPOINT_DIR/checkpoint.pt --out LATENT.pt
"""
import argparse
import math
import time

import torch
import torch.nn.functional as F
from tqdm import tqdm

import rule
import score
from data import Batches, Camvid, inputs, street
from latent_net import LatentHead, deep_of, pure_noise
from nets import Head, Restore
from train import Average, hazard_weights


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid", help="folder with train/label and val/label (default: %(default)s)")
    p.add_argument("--street", help="folder of procedural street maps, SEED_FRAME.png; a quarter of the samples when given")
    p.add_argument("--checkpoint", required=True, help="of train.py")
    p.add_argument("--out", required=True)
    p.add_argument("--iterations", type=int, default=2500)
    p.add_argument("--minutes", type=float, default=20, help="the schedule ends here if the iterations have not (default: %(default)s)")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    return p.parse_args()


def scored(restore, head, latent, camvid, rng):
    """macro-F1 of the head alone and of the latent head, channel by channel, on the test recording."""
    for name, kw in (("loss .3", dict(loss=.3)), ("loss .5", dict(loss=.5)), ("loss .7", dict(loss=.7)), ("sigma .6", dict(sigma=.6)),
                     ("sigma .9", dict(sigma=.9)), ("sigma 1.3", dict(sigma=1.3))):
        frames = score.stream(camvid.test, seed=0, **kw)
        truth, first, then = [], [], []
        errors = [[], []]
        with torch.no_grad():
            for i in range(0, len(frames), 16):
                part = frames[i:i + 16]
                given = inputs(score.tensors(part))
                said = head(**given)
                x, sigma = pure_noise(len(part), rng)
                again = latent(deep_of(restore, x, sigma, **given), *said)
                maps = torch.stack([torch.from_numpy(f["truth"]) for f in part]).numpy()
                truth.append(torch.from_numpy(rule.hazards(maps)))
                first.append(said[1] > 0)
                then.append(again[1] > 0)
                free = torch.from_numpy(rule.free_space(maps)).float()
                for e, s in zip(errors, (said, again)):
                    e.append((s[0] - free).abs().mean(1))
        f1 = [score.macro_f1(torch.cat(truth).bool().numpy(), torch.cat(s).numpy()) for s in (first, then)]
        print(f"{name}: F1 {f1[0]} -> {f1[1]}, free {[round(1000 * torch.cat(e).mean().item(), 1) for e in errors]}", flush=True)


def main():
    a = arguments()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    camvid = Camvid(a.camvid, test_too=True)
    drives = street(a.street) if a.street else []
    parts = [(0.6, camvid.train), (0.4, drives)] if drives else [(1.0, camvid.train)]
    weights = torch.load(a.checkpoint, map_location="cpu")["ema"]
    restore, head, latent = Restore().eval(), Head().eval(), LatentHead()
    restore.load_state_dict(weights["restore"])
    head.load_state_dict(weights["head"])
    restore = restore.to(memory_format=torch.channels_last)
    average = Average(latent, 0.998)
    optimizer = torch.optim.AdamW(latent.parameters(), lr=a.rate, weight_decay=2e-2)
    positive = hazard_weights(camvid.train)
    rng = torch.Generator().manual_seed(a.seed)
    loader = iter(torch.utils.data.DataLoader(Batches(parts, a.batch, a.seed + 900), batch_size=None))
    began, smooth = time.time(), None
    bar = tqdm(total=a.iterations, mininterval=10, dynamic_ncols=True)
    for iteration in range(a.iterations):
        progress = max(iteration / a.iterations, (time.time() - began) / 60 / a.minutes)
        if progress >= 1:
            break
        for g in optimizer.param_groups:
            g["lr"] = min(1, (iteration + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))) * a.rate
        batch = next(loader)
        given, maps = inputs(batch), batch["truth"].numpy()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            x, sigma = pure_noise(len(maps), rng)
            deep = deep_of(restore, x, sigma, **given).float()
        with torch.no_grad():
            first = [v.float() for v in head(**given)]
        hazards, frees = (torch.from_numpy(f(maps)).float() for f in (rule.hazards, rule.free_space))
        free, hazard = latent(F.dropout(deep, 0.1), *first)
        loss = F.binary_cross_entropy_with_logits(hazard, hazards, pos_weight=positive) + 3 * F.l1_loss(free, frees)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update(latent)
        smooth = loss.item() if smooth is None else smooth + (loss.item() - smooth) * max(0.01, 1 / (iteration + 1))
        bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
        bar.update()
        if iteration % 500 == 499:
            torch.save(average.weights, a.out)
    bar.close()
    torch.save(average.weights, a.out)
    latent.load_state_dict(average.weights)
    scored(restore, head, latent.eval(), camvid, rng)


if __name__ == "__main__":
    main()
