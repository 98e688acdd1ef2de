"""Writes tests/golden/schedulers.npz: what diffusers' schedulers make of a model that both sides can compute.

    pip install diffusers==0.42.1 scipy
    python models/train/golden.py --out tests/golden/schedulers.npz

Arrays: `noise` [draws, values] (draw 0 begins, draw k + 1 is step k's); for each configuration `CLASS.INDEX.config` its JSON, and
`CLASS.INDEX.request` eta and mu (NaN where not given); for each number of steps `CLASS.INDEX.STEPS` x after every step, empty where
diffusers refuses or divides by zero; `SPACING` the timesteps of DDIMScheduler with 1 to 100 steps, one after the other.
"""
import argparse
import importlib
import inspect
import json
import math
import warnings

import diffusers
import numpy as np
import torch

STEPS = [1, 4, 10, 50]
SHAPE = (1, 2, 3, 4)
CONFIGS = {
    "LCMScheduler": [
        {},
        {"beta_schedule": "linear", "prediction_type": "v_prediction", "clip_sample": True, "clip_sample_range": 1.5, "original_inference_steps": 100},
        {"prediction_type": "sample", "thresholding": True, "sample_max_value": 2.0, "dynamic_thresholding_ratio": 0.8, "timestep_scaling": 0.01},
    ],
    "TCDScheduler": [
        {},
        {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True},
        {"prediction_type": "sample", "beta_schedule": "linear", "original_inference_steps": 100, "eta": 0.8},
    ],
    "DDIMScheduler": [
        {},
        {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True, "clip_sample": False, "set_alpha_to_one": False},
        {"prediction_type": "sample", "beta_schedule": "scaled_linear", "timestep_spacing": "linspace", "steps_offset": 1, "thresholding": True, "sample_max_value": 3.0, "dynamic_thresholding_ratio": 0.9, "eta": 0.5},
    ],
    "DDPMScheduler": [
        {},
        {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing", "clip_sample": False, "variance_type": "learned_range"},
        {"prediction_type": "sample", "timestep_spacing": "linspace", "variance_type": "fixed_large", "thresholding": True, "sample_max_value": 1.5},
    ],
    "DPMSolverMultistepScheduler": [
        {"lambda_min_clipped": -math.inf},
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True, "prediction_type": "v_prediction", "final_sigmas_type": "sigma_min", "beta_schedule": "scaled_linear"},
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0, "solver_order": 1},
        {"solver_type": "heun", "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1, "timestep_spacing": "leading", "steps_offset": 1, "thresholding": True, "variance_type": "learned_range"},
    ],
    "EulerDiscreteScheduler": [
        {},
        {"prediction_type": "v_prediction", "use_karras_sigmas": True, "timestep_spacing": "leading", "steps_offset": 1, "beta_schedule": "scaled_linear"},
        {"prediction_type": "sample", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True, "final_sigmas_type": "sigma_min"},
    ],
    "CMStochasticIterativeScheduler": [
        {},
        {"num_train_timesteps": 201, "sigma_data": 1.0, "clip_denoised": False},
        {"num_train_timesteps": 100, "rho": 5.0, "s_noise": 0.8, "sigma_max": 20.0},
    ],
    "FlowMatchEulerDiscreteScheduler": [
        {},
        {"shift": 3.0, "stochastic_sampling": True},
        {"use_dynamic_shifting": True, "shift_terminal": 0.1, "invert_sigmas": True, "mu": 0.8},
    ],
    "FlowMapEulerDiscreteScheduler": [{}, {"shift": 3.0}, {"num_train_timesteps": 500, "shift": 0.5}],
}


def model(x, t, r, outputs):
    """Smooth in x and in both times, in 64 bits; the second half is a variance."""
    i = np.arange(outputs)
    x = np.resize(x.astype(np.float64), outputs)
    return (0.5 * np.tanh(x) + 0.3 * np.sin(0.37 * i + 0.01 * t) + 0.1 * np.cos(0.005 * r)).astype(np.float32)


def sample(name, config, eta, mu, steps, noise):
    scheduler = getattr(diffusers, name)(**config)
    arguments = {"mu": mu} if mu is not None else {}
    scheduler.set_timesteps(steps, **arguments)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    draw = 0
    module = importlib.import_module(type(scheduler).__module__)
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = lambda *_, **__: noise[draw]
    values = noise[0].numel()
    doubled = config.get("variance_type") in ("learned", "learned_range")
    x = noise[0] * getattr(scheduler, "init_noise_sigma", 1.0)
    path = []
    times = [float(t) for t in scheduler.timesteps] + [0.0]
    for k, t in enumerate(scheduler.timesteps):
        draw = k + 1
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        r = times[k + 1] if name == "FlowMapEulerDiscreteScheduler" else 0.0
        out = model(seen.float().numpy().ravel(), np.float64(np.float32(t)), np.float64(np.float32(r)), values * (2 if doubled else 1))
        out = torch.from_numpy(out).reshape(1, -1, *SHAPE[2:])
        if doubled and name != "DDPMScheduler":
            out = out[:, : SHAPE[1]]
        arguments = {"eta": eta} if eta is not None and "eta" in inspect.signature(scheduler.step).parameters else {}
        x = scheduler.step(out, t, x, **arguments).prev_sample.float()
        path.append(x.numpy().ravel().copy())
    return np.stack(path)


def spacing(kind):
    def timesteps(steps):
        scheduler = diffusers.DDIMScheduler(timestep_spacing=kind)
        scheduler.set_timesteps(steps)
        return scheduler.timesteps.numpy()[:steps]

    return np.concatenate([timesteps(steps) for steps in range(1, 101)]).astype(np.int16)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", required=True, help="the .npz to write")
    a = p.parse_args()
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((max(STEPS) + 1, *SHAPE)).astype(np.float32)
    arrays = {"noise": noise.reshape(len(noise), -1)}
    for name, configs in CONFIGS.items():
        for index, config in enumerate(configs):
            config = dict(config)
            eta, mu = config.pop("eta", None), config.pop("mu", None)
            arrays[f"{name}.{index}.request"] = np.array([eta if eta is not None else np.nan, mu if mu is not None else np.nan], np.float32)
            arrays[f"{name}.{index}.config"] = np.frombuffer(json.dumps({"_class_name": name, **config}).encode(), np.uint8)
            for steps in STEPS:
                try:
                    path = sample(name, config, eta, mu, steps, torch.from_numpy(noise))
                    if not np.isfinite(path).all():
                        raise ValueError("the sample is not finite")
                except ValueError as error:
                    print(f"{name} {index}, {steps} steps: {error}")
                    path = np.zeros((0, noise[0].size), np.float32)
                arrays[f"{name}.{index}.{steps}"] = path
    for kind in ["linspace", "leading", "trailing"]:
        arrays[kind] = spacing(kind)
    np.savez_compressed(a.out, **arrays)


if __name__ == "__main__":
    main()
