"""onnx2tf: ONNX in.

Routes: ``direct_qdq`` hands our quantized file to its direct flatbuffer writer, ``direct_int8`` the float
file with the writer's own integer quantization, ``tensorflow_int8`` the same with TensorFlow's converter.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from job import Job, read_job


def main() -> None:
    job = read_job()
    from onnx2tf import main as onnx2tf

    job.used("onnx2tf", "onnx", "numpy")
    job.stage("import")
    folder = job.out.parent / "onnx2tf"
    quantizes = job.route != "direct_qdq"
    source = job.plain if quantizes else job.qdq
    sys.argv = ["onnx2tf", "-n", "-i", str(source), "-o", str(folder)]
    if quantizes:
        sys.argv += ["-oiqt", *_calibration(job)]
    if job.route == "tensorflow_int8":
        job.used("tensorflow")
        sys.argv += ["-tb", "tf_converter"]
    onnx2tf()
    job.stage("convert")
    # it writes up to seven files; this is the one with integers throughout
    ending = "_full_integer_quant.tflite" if quantizes else "_float32.tflite"
    (folder / f"{source.stem}{ending}").rename(job.out)


def _calibration(job: Job) -> list[str]:
    pictures: Path = job.out.with_name("nhwc.npy")
    np.save(pictures, np.ascontiguousarray(np.load(job.pictures).transpose(0, 2, 3, 1)))
    mean, std = "[[[[0, 0, 0]]]]", "[[[[1, 1, 1]]]]"
    return ["-cind", "input", str(pictures), mean, std]


if __name__ == "__main__":
    main()
