#!/usr/bin/env python3
"""Writes the comparison U-Net for onnxruntime and all who read ONNX: unet.onnx, unet.qdq.onnx, unet.qop.onnx.

make_unet.py FOLDER
"""

import sys
from pathlib import Path

import torch
import unet
from onnx_int8 import quantize


def main():
    folder = Path(sys.argv[1])
    model = folder / "unet.onnx"
    example, *samples = unet.samples()
    torch.onnx.export(
        unet.seeded(),
        tuple(torch.from_numpy(value) for value in example.values()),
        str(model),
        input_names=list(example),
        output_names=["eps"],
        opset_version=17,
        dynamo=False,
    )
    quantize(model, samples, folder / "unet.qdq.onnx", folder / "unet.qop.onnx")


main()
