#!/usr/bin/env python3
"""Quantizes the shipped restore network: restore.qdq.onnx, restore.qop.onnx.

make_restore.py FOLDER RESTORE_ONNX
"""

import sys
from pathlib import Path

import numpy as np
from onnx_int8 import quantize

HEIGHT, WIDTH, CLASSES = 96, 128, 12
TILE_HEIGHT, TILE_WIDTH = 24, 64


def draw(rng, sigma):
    """A frame with holes at noise level `sigma`, of plausible values; as models/train/export.py makes them."""
    patches = rng.integers(CLASSES, size=(HEIGHT // 12, WIDTH // 16)).repeat(12, 0).repeat(16, 1)
    tiles = rng.random((HEIGHT // TILE_HEIGHT, WIDTH // TILE_WIDTH)) < 0.6
    mask = tiles.repeat(TILE_HEIGHT, 0).repeat(TILE_WIDTH, 1)
    inputs = {
        "x": sigma * rng.standard_normal((1, 4, HEIGHT, WIDTH)),
        "sigma": np.array([sigma]),
        "cond": (patches == np.arange(CLASSES)[:, None, None])[None] * mask,
        "mask": mask[None, None],
        "held": np.sign(rng.standard_normal((1, 4, HEIGHT, WIDTH))),
        "age": np.full((1, 1, HEIGHT, WIDTH), 0.5**0.5),
        "present": np.isin(np.arange(CLASSES), patches)[None],
    }
    return {name: value.astype(np.float32) for name, value in inputs.items()}


def main():
    folder, model = Path(sys.argv[1]), Path(sys.argv[2])
    rng = np.random.default_rng(0)
    # The noise levels of a run of four steps.
    samples = [draw(rng, sigma) for sigma in (80.0, 17.5, 2.5, 0.17)]
    quantize(model, samples, folder / "restore.qdq.onnx", folder / "restore.qop.onnx")


main()
