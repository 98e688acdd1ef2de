"""What the scripts share that train one network on one thread: their options, the schedule of the learning rate, and the checkpoint that a run goes on from."""
import argparse
import math
import os
import time

import torch
from tqdm import tqdm

SAVE_EVERY = 120  # seconds


def parser(description, iterations, minutes, batch, rate):
    """The options that all of them have, with these defaults."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid", help="folder with train and val, each with label, and image where photographs are wanted (default: %(default)s)")
    p.add_argument("--out", required=True, help="folder of the checkpoint; an unfinished run there is resumed")
    p.add_argument("--iterations", type=int, default=iterations)
    p.add_argument("--minutes", type=float, default=minutes, help="of CPU time: the schedule ends here if the iterations have not (default: %(default)s)")
    p.add_argument("--batch", type=int, default=batch)
    p.add_argument("--rate", type=float, default=rate, help="highest learning rate")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    return p


def checkpoint(out):
    """The file in the folder `out`, which is made."""
    os.makedirs(out, exist_ok=True)
    return os.path.join(out, "checkpoint.pt")


class Run:
    """A training run, at its start or where its checkpoint left it: `start` iterations in. `average` keeps the weights that are exported, as train.Average does."""

    def __init__(self, a, net, average, optimizer, warm_up, clip=1.0):
        self.a, self.net, self.average, self.optimizer, self.warm_up, self.clip = a, net, average, optimizer, warm_up, clip
        self.path = checkpoint(a.out)
        self.start, spent = 0, 0.0
        if os.path.exists(self.path):
            saved = torch.load(self.path)
            net.load_state_dict(saved["net"])
            optimizer.load_state_dict(saved["optimizer"])
            average.resume(saved)
            self.start, spent = saved["iteration"], saved["seconds"]
            print(f"resumed at iteration {self.start}, {spent / 60:.0f} minutes in")
        self.iteration, self.began = self.start, time.process_time() - spent

    def minutes(self):
        """Of CPU time."""
        return (time.process_time() - self.began) / 60

    def save(self):
        state = {"net": self.net.state_dict(), **self.average.state(), "optimizer": self.optimizer.state_dict(), "iteration": self.iteration,
                 "seconds": time.process_time() - self.began, "arguments": vars(self.a)}
        torch.save(state, self.path + ".part")
        os.replace(self.path + ".part", self.path)

    def train(self, losses):
        """To the end of the schedule. `losses` draws a batch, and gives the loss whose gradient is followed and the one that is shown."""
        a, smooth, saved_at = self.a, None, time.time()
        bar = tqdm(total=a.iterations, initial=self.start, mininterval=10, dynamic_ncols=True)
        while True:
            progress = max(self.iteration / a.iterations, self.minutes() / a.minutes)
            if progress >= 1:
                break
            for g in self.optimizer.param_groups:
                g["lr"] = min(1, (self.iteration + 1) / self.warm_up) * (1e-5 + 0.5 * (a.rate - 1e-5) * (1 + math.cos(math.pi * progress)))
            self.optimizer.zero_grad(set_to_none=True)
            loss, shown = losses()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
            self.optimizer.step()
            self.average.update(self.net)
            self.iteration += 1
            value = shown.item()
            if not math.isfinite(value):
                raise SystemExit(f"iteration {self.iteration}: the loss is {value}")
            smooth = value if smooth is None else smooth + (value - smooth) * max(0.01, 1 / (self.iteration - self.start))
            bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
            bar.update()
            if time.time() - saved_at > SAVE_EVERY:
                self.save()
                saved_at = time.time()
        bar.close()
        self.save()
        print(f"{self.iteration} iterations in {self.minutes():.0f} minutes of CPU time: {self.path}")
