"""Whole networks as a stranger would bring them: timm, torch.onnx, onnxruntime.quantization."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edgecv_runtimes.quiet import import_onnxruntime


def timm_onnx(
    name: str,
    size: int,
    *,
    classes: int = 10,
    seed: int = 0,
    fused_attention: bool | None = None,
    open_axes: tuple[int, ...] = (),
    opset: int = 17,
) -> bytes:
    """Float ONNX of a timm net with random weights, perturbed gammas and plausible statistics.

    Args:
        name: Of the net.
        size: Of pictures, in pixels.
        classes: Outputs.
        seed: Of the weights.
        fused_attention: Whether attention is torch's own function (exported as a dozen operators that
            compute its scale from shapes), or None for timm's default.
        open_axes: Dimensions of the picture that the file leaves open.
        opset: Operator set.
    """
    import torch

    from edgecv.models.torchvision_schemas import import_timm

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    timm = import_timm()
    before = timm.layers.config._USE_FUSED_ATTN
    if fused_attention is not None:
        timm.layers.set_fused_attn(fused_attention)
    net = timm.create_model(name, pretrained=False, num_classes=classes)
    timm.layers.config._USE_FUSED_ATTN = before
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                # gammas of both signs, as training makes them; residual branches start at 0 in timm
                sign = torch.where(
                    torch.rand(module.weight.shape, generator=generator) < 0.1, -1.0, 1.0
                )
                module.weight.copy_(
                    sign * (0.4 + 0.8 * torch.rand(module.weight.shape, generator=generator))
                )
                module.bias.copy_(0.3 * torch.randn(module.bias.shape, generator=generator))
                module.running_mean.copy_(0.2 * torch.randn(module.bias.shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.bias.shape, generator=generator))
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # torch.onnx warns about itself
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.rand(1, 3, size, size, generator=generator),), stream, dynamo=False, opset_version=opset,
            input_names=["input"], output_names=["logits"],
            dynamic_axes={"input": {axis: f"axis{axis}" for axis in open_axes}} if open_axes else None,
        )  # fmt: skip
    return stream.getvalue()


def preprocessed(model: bytes, folder: Path) -> bytes:
    """What onnxruntime asks for before quantization: shapes inferred, arithmetic on shapes folded."""
    import_onnxruntime()
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, target = folder / "exported.onnx", folder / "preprocessed.onnx"
    source.write_bytes(model)
    quant_pre_process(str(source), str(target))
    return target.read_bytes()


class _Reader:
    """Calibration pictures for onnxruntime's quantizer."""

    def __init__(self, size: int, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._left = [
            rng.uniform(0, 1, (1, 3, size, size)).astype(np.float32) for _ in range(count)
        ]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"input": self._left.pop()} if self._left else None


def quantize_static(
    model: bytes,
    folder: Path,
    size: int,
    *,
    activation: str = "QUInt8",
    per_channel: bool = True,
    **extra: Any,
) -> bytes:
    """What ``onnxruntime.quantization.quantize_static`` makes of a float model (QDQ)."""
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    class Reader(_Reader, CalibrationDataReader):
        pass

    source, target = folder / "float.onnx", folder / "qdq.onnx"
    source.write_bytes(model)
    quantize(
        str(source), str(target), Reader(size, 4, 1), quant_format=QuantFormat.QDQ, per_channel=per_channel,
        activation_type=getattr(QuantType, activation), weight_type=QuantType.QInt8, extra_options=extra,
    )  # fmt: skip
    return target.read_bytes()
