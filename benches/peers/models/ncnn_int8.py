"""ncnn's int8 models: what its tools ncnn2table and ncnn2int8 do, which the Python package comes without.

Convolutions take int8: weights by the largest of each output channel, inputs by the largest that calibration has seen. The rest stays f32.
"""

import ncnn
import numpy as np

INT8_WEIGHTS = 0x000D4B38  # ncnn's mark before int8 weights; 0 stands before f32
LEVELS = 127


def largest_inputs(param, weights, samples):
    """The largest magnitude that goes into each convolution, by the layer's name. `samples`: lists of arrays without the batch axis."""
    network = ncnn.Net()
    network.opt.lightmode = False  # else a blob is gone when its last reader has run
    network.load_param(str(param))
    network.load_model(str(weights))
    largest = {}
    for sample in samples:
        extractor = network.create_extractor()
        mats = [ncnn.Mat(value) for value in sample]
        for index, mat in enumerate(mats):
            extractor.input(f"in{index}", mat)
        for kind, name, bottoms, _ in layers(param):
            if kind == "Convolution":
                status, blob = extractor.extract(bottoms[0])
                if status:
                    raise RuntimeError(f"ncnn can't give {bottoms[0]}, the input of {name}")
                largest[name] = max(largest.get(name, 0.0), float(np.abs(np.array(blob)).max()))
    return largest


def layers(param):
    """Each layer: its kind, its name, the blobs it reads, its parameters as text by their number."""
    for line in param.read_text().splitlines()[2:]:
        kind, name, bottoms, tops, *rest = line.split()
        first_parameter = int(bottoms) + int(tops)
        yield kind, name, rest[: int(bottoms)], dict(p.split("=") for p in rest[first_parameter:])


def write(param, weights, largest, out_param, out_weights):
    """Writes the model anew with int8 convolutions."""
    read = Reader(weights.read_bytes())
    out = []
    for kind, name, _, p in layers(param):
        if kind == "MemoryData":
            out.append(read.floats(int(p["0"])))
        elif kind == "GroupNorm":
            out.append(read.floats(2 * int(p["1"])))
        elif kind == "InnerProduct":
            out += [read.f32_mark(), read.floats(int(p["2"])), read.floats(int(p["0"]))]
        elif kind == "Convolution":
            read.f32_mark()
            values = read.floats(int(p["6"])).reshape(int(p["0"]), -1)
            bias = read.floats(int(p["0"]))
            scales = (LEVELS / np.abs(values).max(1)).astype("<f4")
            rounded = np.rint(values * scales[:, None]).astype(np.int8).tobytes()
            out += [np.uint32(INT8_WEIGHTS), rounded + bytes(-len(rounded) % 4), bias, scales]
            out.append(np.float32(LEVELS / largest[name]))
    read.expect_end()
    out_weights.write_bytes(b"".join(part if isinstance(part, bytes) else part.tobytes() for part in out))
    lines = param.read_text().splitlines()
    # 8: how the scales are given; 2 is one for each output channel and one for the input.
    lines = [line + " 8=2" if line.startswith("Convolution ") else line for line in lines]
    out_param.write_text("\n".join(lines) + "\n")


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def floats(self, count):
        values = np.frombuffer(self.data, "<f4", count, self.at)
        self.at += 4 * count
        return values

    def f32_mark(self):
        mark = np.frombuffer(self.data, "<u4", 1, self.at)[0]
        if mark != 0:
            raise ValueError(f"ncnn weights at byte {self.at}: {mark:#x} stands where f32 weights should begin")
        self.at += 4
        return mark

    def expect_end(self):
        if self.at != len(self.data):
            raise ValueError(f"ncnn weights: {len(self.data) - self.at} bytes belong to no layer known here")
