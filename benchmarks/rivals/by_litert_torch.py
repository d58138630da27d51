"""litert-torch and ai-edge-quantizer: a torch model to a float file, that to int8 after training."""

from __future__ import annotations

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe
from floatnet import load
from job import read_job


def main() -> None:
    job = read_job()
    job.used("litert-torch", "ai-edge-quantizer", "ai-edge-litert")
    model = litert_torch.to_channel_last_io(load(job), args=[0])
    pictures = np.ascontiguousarray(np.load(job.pictures).transpose(0, 2, 3, 1))
    job.stage("import")
    plain = job.out.with_suffix(".float.tflite")
    litert_torch.convert(model, (torch.from_numpy(pictures[:1]),)).export(str(plain))
    job.stage("convert")
    ((name, signature),) = Interpreter(str(plain)).get_signature_list().items()
    data = {name: [{signature["inputs"][0]: picture[None]} for picture in pictures]}
    to_int8 = quantizer.Quantizer(str(plain), recipe.static_wi8_ai8())
    to_int8.quantize(to_int8.calibrate(data)).export_model(str(job.out))
    job.stage("quantize")


if __name__ == "__main__":
    main()
