"""onnxruntime's static quantization, in its two forms."""

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static


class Samples(CalibrationDataReader):
    def __init__(self, samples):
        self.samples = iter(samples)

    def get_next(self):
        return next(self.samples, None)


def quantize(model, samples, qdq, qoperator):
    """Convolutions only, per channel: QDQ with signed activations, QLinearConv with unsigned ones."""
    prepared = qdq.with_name(f"{model.stem}.prepared.onnx")
    quant_pre_process(str(model), str(prepared))
    forms = ((qdq, QuantFormat.QDQ, QuantType.QInt8), (qoperator, QuantFormat.QOperator, QuantType.QUInt8))
    for out, form, activations in forms:
        quantize_static(
            str(prepared),
            str(out),
            Samples(samples),
            quant_format=form,
            per_channel=True,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
        )
