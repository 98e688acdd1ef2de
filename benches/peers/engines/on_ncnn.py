#!/usr/bin/env python3
"""The comparison U-Net only: ncnn's files don't say what shapes go in."""

import ncnn
import numpy as np
from worker import measure

SHAPES = ((3, 64, 128), (12, 64, 128), (1,))


def load(model, threads):
    """`model`: a .param file, the weights beside it; f16: before it lets ncnn keep floats in 16 bits."""
    half = model.startswith("f16:")
    param = model.removeprefix("f16:")
    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = half
    if network.load_param(param) or network.load_model(param.removesuffix(".param") + ".bin"):
        raise SystemExit(f"ncnn can't load {param}")
    rng = np.random.default_rng(0)
    inputs = [ncnn.Mat(rng.random(shape, np.float32)).clone() for shape in SHAPES]

    def run():
        extractor = network.create_extractor()
        for index, value in enumerate(inputs):
            extractor.input(f"in{index}", value)
        status, _ = extractor.extract("out0")
        if status:
            raise SystemExit(f"ncnn can't run {param}: status {status}")

    return run


measure(load)
