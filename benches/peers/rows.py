"""What is timed: each row is a model in a form, an engine, a number of threads."""

from dataclasses import dataclass

THREADS = (1, 2)
ONNX_ENGINES = ("semrx", "onnxruntime", "tract", "rten")


@dataclass(frozen=True)
class Row:
    model: str
    form: str
    engine: str
    threads: int
    file: str  # as the engine's worker takes it

    @property
    def what(self):
        return f"{self.model} {self.form}, {counted(self.threads)}"


def counted(threads):
    return "1 thread" if threads == 1 else f"{threads} threads"


def all_rows(models, mobilenet):
    """`models`: the folder of the made models; `mobilenet`: a file, or None."""
    forms = [
        ("restore", "f32", models / "restore.onnx"),
        ("restore", "int8 QDQ", models / "restore.qdq.onnx"),
        ("restore", "int8 QOperator", models / "restore.qop.onnx"),
        ("unet", "f32", models / "unet.onnx"),
        ("unet", "int8 QDQ", models / "unet.qdq.onnx"),
        ("unet", "int8 QOperator", models / "unet.qop.onnx"),
    ]
    if mobilenet:
        forms.append(("mobilenet", "int8 QDQ", mobilenet))
    found = [(model, form, engine, file) for model, form, file in forms for engine in ONNX_ENGINES]
    found += [
        ("unet", "f32", "ncnn", models / "unet.ncnn.param"),
        ("unet", "f16", "ncnn", f"f16:{models / 'unet.ncnn.param'}"),
        ("unet", "int8", "ncnn", models / "unet.int8.ncnn.param"),
        ("unet", "f32", "LiteRT", models / "unet.tflite"),
        ("unet", "int8", "LiteRT", models / "unet.int8.tflite"),
        ("unet", "int8 throughout", "LiteRT", models / "unet.full.int8.tflite"),
    ]
    # What is compared comes together: a model, its threads, then everyone who runs it.
    order = list(dict.fromkeys(model for model, *_ in forms))
    return [
        Row(model, form, engine, threads, str(file))
        for name in order
        for threads in THREADS
        for model, form, engine, file in found
        if model == name
    ]
