#!/usr/bin/env python3
import numpy as np
import onnxruntime
from worker import measure


def load(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    # Between 0 and 1: a noise level among the inputs must be positive. What is left open is the batch.
    inputs = {port.name: rng.random([d if isinstance(d, int) else 1 for d in port.shape], np.float32) for port in session.get_inputs()}
    return lambda: session.run(None, inputs)


measure(load)
