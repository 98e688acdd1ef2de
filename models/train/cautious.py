"""Writes head_cautious.onnx: a head that calls a hazard from a probability of a fifth on, and tells two tasks of its own.

    python models/train/cautious.py --bundle models/street-float

It is the head beside it with its log-odds moved by the logarithm of 4: a missed hazard costs it four times a false alarm. Where every cell is
known, its margins are 3 or more and nothing moves. Tasks: `person_close`, a person in a near zone; `way_blocked`, anything in the near or middle centre.
"""
import argparse
import math
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from export import example

TYPES = 3
PERSON = 1
TASKS = {"person_close": [zone * TYPES + PERSON for zone in (0, 1, 2)], "way_blocked": [zone * TYPES + kind for zone in (1, 4) for kind in range(TYPES)]}


def cautious(model):
    graph = model.graph
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == "hazard":
                node.output[i] = "even_hazard"
    constant = lambda name, value: graph.initializer.append(numpy_helper.from_array(value, name))
    constant("caution", np.full((1, 27), math.log(4), np.float32))
    graph.node.append(helper.make_node("Add", ["even_hazard", "caution"], ["hazard"], name="/caution/Add"))
    tasks = []
    for task, pairs in TASKS.items():
        parts = []
        for k, pair in enumerate(pairs):
            constant(f"{task}.{k}", np.array([pair], np.int64))
            parts.append(f"{task}_{k}")
            graph.node.append(helper.make_node("Gather", ["hazard", f"{task}.{k}"], [parts[-1]], axis=1, name=f"/{task}/Gather_{k}"))
        graph.node.append(helper.make_node("Max", parts, [task], name=f"/{task}/Max"))
        tasks.append(task)
    graph.node.append(helper.make_node("Concat", tasks, ["task"], axis=1, name="/task/Concat"))
    graph.output.append(helper.make_tensor_value_info("task", TensorProto.FLOAT, [1, len(tasks)]))
    onnx.checker.check_model(model)
    return model


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bundle", default="models/street-float")
    a = p.parse_args()
    path, out = (os.path.join(a.bundle, name) for name in ("head.onnx", "head_cautious.onnx"))
    onnx.save(cautious(onnx.load(path)), out)
    _, given = example(0)
    values = dict(zip(["cond", "mask", "held", "age", "present"], (v.numpy() for v in given)))
    even, moved, task = onnxruntime.InferenceSession(path).run(["hazard"], values)[0], *onnxruntime.InferenceSession(out).run(["hazard", "task"], values)
    print(f"{out}: log-odds moved by {np.ptp(moved - even):.2g} unevenly; tasks {dict(zip(TASKS, task[0].round(2).tolist()))}")


if __name__ == "__main__":
    main()
