"""TinyNeuralNetwork: its quantization-aware form of a torch model straight to TFLite.

Routes: ``stock`` takes timm's model as it is. ``rewritten`` changes what stops it: BatchNorms with an
activation inside become two layers, SiLU becomes ``x * sigmoid(x)``, fused attention its plain form.
Ranges are calibrated and nothing is trained: a file's speed does not depend on it.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from floatnet import load
from job import Job, read_job
from torch import nn


class _Silu(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)


def main() -> None:
    job = read_job()
    # not in any index: a checkout, named on the command line
    sys.path.insert(0, sys.argv[2])
    from tinynn.converter import TFLiteConverter
    from tinynn.graph.quantization.quantizer import QATQuantizer
    from tinynn.graph.tracer import model_tracer

    model = _rewritten(job) if job.route == "rewritten" else load(job)
    pictures = torch.from_numpy(np.load(job.pictures))
    job.stage("import")
    torch.manual_seed(0)
    with model_tracer():
        form = {"asymmetric": True, "per_tensor": False}
        folder = str(job.out.parent / "tinynn")
        quantizer = QATQuantizer(model, pictures[:1], work_dir=folder, config=form)
        qat = quantizer.quantize().eval()
    with torch.no_grad():
        qat.apply(torch.ao.quantization.disable_fake_quant)
        qat.apply(torch.ao.quantization.enable_observer)
        qat(pictures)
        qat.apply(torch.ao.quantization.disable_observer)
        job.stage("quantize")
        quantized = quantizer.convert(qat)
        torch.backends.quantized.engine = quantizer.backend
        TFLiteConverter(
            quantized, pictures[:1], tflite_path=str(job.out), quantize_target_type="int8",
            fuse_quant_dequant=True,
        ).convert()  # fmt: skip
    job.stage("convert")


def _rewritten(job: Job) -> nn.Module:
    model = load(job)
    from timm.layers import BatchNormAct2d

    for path, layer in list(model.named_modules()):
        if isinstance(layer, BatchNormAct2d):
            plain = nn.BatchNorm2d(layer.num_features, layer.eps)
            plain.load_state_dict(layer.state_dict())
            model.set_submodule(path, nn.Sequential(plain, layer.act))
        if hasattr(layer, "fused_attn"):
            layer.fused_attn = False
    for path, layer in list(model.named_modules()):
        if isinstance(layer, nn.SiLU):
            model.set_submodule(path, _Silu())
    return model.eval()


if __name__ == "__main__":
    main()
