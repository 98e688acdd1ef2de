#!/usr/bin/env python3
"""Writes the comparison U-Net for LiteRT: unet.tflite, unet.int8.tflite (convolutions), unet.full.int8.tflite (every operator).

make_litert.py FOLDER
"""

import sys
from pathlib import Path

import litert_torch
import torch
import unet
from ai_edge_quantizer import qtyping, quantizer

# What litert_torch calls a model's one entry and its inputs.
SIGNATURE, INPUTS = "serving_default", ("args_0", "args_1", "args_2")


def quantize(model, operators, samples, out):
    job = quantizer.Quantizer(str(model))
    job.add_static_config(regex=".*", operation_name=operators, activation_num_bits=8, weight_num_bits=8)
    named = [dict(zip(INPUTS, sample.values(), strict=True)) for sample in samples]
    job.quantize(job.calibrate({SIGNATURE: named})).export_model(str(out))


def main():
    folder = Path(sys.argv[1])
    example, *samples = unet.samples()
    inputs = tuple(torch.from_numpy(value) for value in example.values())
    model = folder / "unet.tflite"
    converted = litert_torch.convert(unet.seeded(), inputs)
    unet.check("LiteRT, f32", converted(*inputs), unet.F32_ERROR)
    converted.export(str(model))
    quantize(model, qtyping.TFLOperationName.CONV_2D, samples, folder / "unet.int8.tflite")
    quantize(model, qtyping.TFLOperationName.ALL_SUPPORTED, samples, folder / "unet.full.int8.tflite")


main()
