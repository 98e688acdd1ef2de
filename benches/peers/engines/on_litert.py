#!/usr/bin/env python3
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from worker import measure


def load(model, threads):
    interpreter = Interpreter(model, num_threads=threads)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for port in interpreter.get_input_details():
        value = rng.random(port["shape"], np.float32)
        scale, zero = port["quantization"]
        if scale:  # else the input is float
            bounds = np.iinfo(port["dtype"])
            value = np.clip(np.rint(value / scale) + zero, bounds.min, bounds.max)
        interpreter.set_tensor(port["index"], value.astype(port["dtype"]))
    return interpreter.invoke


measure(load)
