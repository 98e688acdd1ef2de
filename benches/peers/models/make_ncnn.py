#!/usr/bin/env python3
"""Writes the comparison U-Net for ncnn: unet.ncnn.param and .bin, unet.int8.ncnn.param and .bin.

make_ncnn.py FOLDER
"""

import sys
from pathlib import Path

import ncnn
import ncnn_int8
import numpy as np
import pnnx
import torch
import unet


def without_batch(sample):
    return [sample["x"][0], sample["cond"][0], sample["t"]]


def ran(param, weights, sample):
    network = ncnn.Net()
    network.load_param(str(param))
    network.load_model(str(weights))
    extractor = network.create_extractor()
    mats = [ncnn.Mat(value) for value in without_batch(sample)]
    for index, mat in enumerate(mats):
        extractor.input(f"in{index}", mat)
    _, out = extractor.extract("out0")
    return np.array(out)[None]


def main():
    folder = Path(sys.argv[1])
    example, *samples = unet.samples()
    inputs = tuple(torch.from_numpy(value) for value in example.values())
    traced = folder / "unet.pt"
    # pnnx names what it writes after the file that it reads.
    pnnx.export(unet.seeded(), str(traced), inputs, fp16=False)
    param, weights = folder / "unet.ncnn.param", folder / "unet.ncnn.bin"
    int8_param, int8_weights = folder / "unet.int8.ncnn.param", folder / "unet.int8.ncnn.bin"
    largest = ncnn_int8.largest_inputs(param, weights, [without_batch(sample) for sample in samples])
    ncnn_int8.write(param, weights, largest, int8_param, int8_weights)
    unet.check("ncnn, f32", ran(param, weights, example), unet.F32_ERROR)
    unet.check("ncnn, int8", ran(int8_param, int8_weights, example), unet.INT8_ERROR)


main()
