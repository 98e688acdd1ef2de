"""docs/bring-your-model.md, tried: exports a small diffusers UNet2DModel with random weights, samples it with diffusers and with semrx
from the same noise, and prints how far apart the samples are. Exits with 1 where that is beyond 1e-3.

    pip install diffusers==0.42.1 torch onnx onnxscript
    python models/train/own_model.py --semrx target/release/semrx --out DIR
"""
import argparse
import hashlib
import inspect
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings

import diffusers
import numpy as np
import torch

SIZE = 16
STEPS = 10
SCHEDULERS = {
    "DDIMScheduler": {},
    "DDPMScheduler": {},
    "LCMScheduler": {},
    "DPMSolverMultistepScheduler": {},
    "EulerDiscreteScheduler": {},
    "FlowMatchEulerDiscreteScheduler": {"shift": 3.0},
}


def unet():
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=SIZE, layers_per_block=1, block_out_channels=(4, 8), norm_num_groups=2, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")).eval()


class Export(torch.nn.Module):
    """The model with a tensor for its result, as ONNX wants it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sample, timestep):
        return self.model(sample, timestep, return_dict=False)[0]


class Split(torch.nn.Module):
    """The model with the feature in front of its last block, which DeepCache keeps; or, given that feature, its shallow part."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sample, timestep, deep=None):
        model, whole = self.model, deep is None
        embedded = model.time_embedding(model.time_proj(timestep.reshape(1)))
        x = model.conv_in(sample)
        last = model.up_blocks[-1]
        skips = [x]
        for block in model.down_blocks if whole else model.down_blocks[:1]:
            x, more = block(x, embedded)
            skips += more
        if whole:
            deep = model.mid_block(x, embedded)
            for block in model.up_blocks[:-1]:
                deep = block(deep, tuple(skips[-len(block.resnets):]), embedded)
                del skips[-len(block.resnets):]
        out = last(deep, tuple(skips[:len(last.resnets)]), embedded)
        out = model.conv_out(model.conv_act(model.conv_norm_out(out)))
        return (out, deep) if whole else out


def export(module, file, inputs, input_names, output_names):
    torch.onnx.export(
        module, inputs, file, input_names=input_names, output_names=output_names, dynamo=True, external_data=False, verbose=False)


def write_bundle(folder, roles, contract):
    """bundle.json, with the hash of every file."""
    files = []
    for role, file in roles.items():
        with open(os.path.join(folder, file), "rb") as content:
            files.append({"role": role, "file": file, "sha256": hashlib.sha256(content.read()).hexdigest()})
    with open(os.path.join(folder, "bundle.json"), "w") as manifest:
        json.dump({"schema": 1, "name": "my model", "files": files, "generate": contract}, manifest, indent=2)


def reference(model, scheduler, noise):
    """The loop of diffusers' pipelines; what a step adds is `noise[step + 1]`."""
    scheduler.set_timesteps(STEPS)
    x = torch.from_numpy(noise[:1]) * getattr(scheduler, "init_noise_sigma", 1.0)
    drawn = inspect.getmodule(type(scheduler))
    for step, t in enumerate(scheduler.timesteps):
        drawn.randn_tensor = lambda *_, **__: torch.from_numpy(noise[step + 1:step + 2])
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(model(step, scaled, t), t, x, return_dict=False)[0]
    return x.numpy()


class Cached:
    """DeepCache: one of `interval` steps runs the whole model."""

    def __init__(self, split, interval):
        self.split, self.interval, self.deep = split, interval, None

    def __call__(self, step, sample, timestep):
        if step % self.interval:
            return self.split(sample, timestep, self.deep)
        out, self.deep = self.split(sample, timestep)
        return out


def compare(options, name, folder, expected, extra=()):
    """Samples the model in `folder`, and says how far it is from `expected`."""
    noise, sample = os.path.join(options.out, "noise.npz"), os.path.join(folder, "sample.npz")
    command = [options.semrx, "sample", folder, "--steps", str(STEPS), "--noise", noise, "--out", sample, "--json", *extra]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    error = float(np.abs(np.load(sample)["sample"] - expected).max())
    print(f"{name:32} max abs error {error:.1e} of {np.abs(expected).max():.2f}, {told['macs'] / 1e6:.1f} M MACs")
    return error


@torch.no_grad()
def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--semrx", default="target/release/semrx")
    arguments.add_argument("--out", required=True)
    options = arguments.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    model = unet()
    noise = np.random.default_rng(0).standard_normal((STEPS + 1, 3, SIZE, SIZE), dtype=np.float32)
    folders = {name: os.path.join(options.out, name) for name in [*SCHEDULERS, "deep"]}
    for folder in folders.values():
        os.makedirs(folder, exist_ok=True)
    np.savez(os.path.join(options.out, "noise.npz"), noise=noise)
    print(f"UNet2DModel, {sum(p.numel() for p in model.parameters())} parameters, {STEPS} steps")

    sample, names = torch.randn(1, 3, SIZE, SIZE), ["sample", "timestep"]
    whole, real = os.path.join(options.out, "whole.onnx"), os.path.join(options.out, "float.onnx")
    export(Export(model), whole, (sample, torch.tensor(1)), names, ["out_sample"])
    export(Export(model), real, (sample, torch.tensor([1.0])), names, ["out_sample"])
    errors = []
    for name, config in SCHEDULERS.items():
        # Timesteps of Euler and of the flow are not whole.
        shutil.copy(real if name.endswith("EulerDiscreteScheduler") else whole, os.path.join(folders[name], "model.onnx"))
        scheduler = getattr(diffusers, name)(**config)
        scheduler.save_pretrained(folders[name])
        expected = reference(lambda step, x, t: model(x, t).sample, scheduler, noise)
        errors.append(compare(options, name, folders[name], expected))

    split, folder = Split(model).eval(), folders["deep"]
    _, deep = split(sample, torch.tensor([1.0]))
    export(split, os.path.join(folder, "model.onnx"), (sample, torch.tensor([1.0])), names, ["out_sample", "deep"])
    export(split, os.path.join(folder, "shallow.onnx"), (sample, torch.tensor([1.0]), deep), [*names, "deep"], ["out_sample"])
    scheduler = diffusers.DDIMScheduler()
    scheduler.save_pretrained(folder)
    roles = {"generate": "model.onnx", "generate_shallow": "shallow.onnx", "scheduler": "scheduler_config.json"}
    write_bundle(folder, roles, {"deep": "deep"})
    expected = reference(Cached(split, 2), scheduler, noise)
    errors.append(compare(options, "DDIMScheduler, --cache deep:2", folder, expected, ["--cache", "deep:2"]))
    sys.exit(0 if max(errors) <= 1e-3 else 1)


if __name__ == "__main__":
    main()
