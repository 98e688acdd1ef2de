"""Writes what `semrx sample` needs to sample street-flow, street-meanflow and street-view for frames of the test recording, 0001TP:

    python models/train/conditions.py --camvid ../shared/data/camvid --out DIR
    semrx sample models/street-flow --steps 4 --condition DIR/fill_00.npz --noise DIR/fill_noise.npz --out s.npz
    semrx sample models/street-view --steps 20 --guidance 2 --condition DIR/view_00.npz --noise DIR/view_noise.npz --out s.npz

fill_NN.npz is a frame after the simulated channel, with the held scene; view_NN.npz a whole class map. truth_fill_NN.npz holds the class map
(`truth`) and the cells that arrived (`received`), truth_view_NN.npz the image (`truth`, in -1..1). CamVid's terms hold for all of it.
"""
import argparse
import os

import numpy as np

from data import TEST_RECORDING, Camvid, frames, inputs
from score import stream, tensors
from train_flow import GIVEN
from train_view import condition, small


def fill_conditions(camvid, loss, seed=0):
    """The test recording across one channel, in order: list of (condition arrays, frame of score.stream)."""
    seen = stream(Camvid(camvid, test_too=True).test, loss=loss, seed=seed, filled=False)
    given = inputs(tensors(seen))
    return [({k: given[k][i:i + 1].numpy() for k in GIVEN}, frame) for i, frame in enumerate(seen)]


def view_conditions(camvid):
    """The test recording: list of ({"map"}, image in -1..1 [3,48,64], classes [48,64])."""
    seen = [small(*f) for f in frames(camvid, TEST_RECORDING)]
    return [({"map": condition(cls[None]).numpy()}, rgb, cls) for rgb, cls in seen]


def noise(shape, draws=1, seed=0):
    return np.random.default_rng(seed).standard_normal((draws,) + shape, dtype=np.float32)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid")
    p.add_argument("--out", required=True)
    p.add_argument("--count", type=int, default=8, help="frames, evenly spaced (default: %(default)s)")
    p.add_argument("--loss", type=float, default=0.5, help="tile loss (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of the channel and of the noise")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    save = lambda name, **arrays: np.savez_compressed(os.path.join(a.out, name + ".npz"), **arrays)
    fill, view = fill_conditions(a.camvid, a.loss, a.seed), view_conditions(a.camvid)
    spaced = lambda rows: [rows[i] for i in np.linspace(0, len(rows) - 1, a.count).round().astype(int)]
    for n, ((given, frame), (seen, rgb, _)) in enumerate(zip(spaced(fill), spaced(view))):
        save(f"fill_{n:02}", **given)
        save(f"truth_fill_{n:02}", truth=frame["truth"], received=frame["received"])
        save(f"view_{n:02}", **seen)
        save(f"truth_view_{n:02}", truth=rgb)
    save("fill_noise", noise=noise(fill[0][0]["held"].shape[1:], seed=a.seed))
    save("view_noise", noise=noise(view[0][1].shape, seed=a.seed))
    print(f"{a.count} frames: {a.out}")


if __name__ == "__main__":
    main()
