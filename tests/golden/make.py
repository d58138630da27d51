"""Make the golden artifacts of manifest schema 1 again: ``python tests/golden/make.py``.

They are files that edgecv wrote once and must be able to read forever. Run this only for a new major
version of the schema; within one, a change of these files is a break of compatibility.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import tiny_models

from edgecv import artifact
from edgecv.artifact.document import encode

HERE = Path(__file__).parent
SUFFIXES = {"tflite": ".tflite", "openvino": ".xml", "onnx": ".onnx", "torch": ".safetensors"}
METADATA = b'{"task":"classify","names":{"0":"ant"}}'


def main() -> None:
    # unsigned: what the environment of the legacy engine, which has no onnx, runs beside the int8 file
    (HERE / "tiny.float32.tflite").write_bytes(tiny_models.tflite("float32"))
    for kind, suffix in SUFFIXES.items():
        weights = None
        if kind == "tflite":
            body = tiny_models.tflite("int8")
        elif kind == "onnx":
            body = tiny_models.onnx_model("int8")
        elif kind == "torch":
            body = tiny_models.safetensors()
        else:
            body, weights = tiny_models.openvino("int8")
            (HERE / "tiny.int8.bin").write_bytes(weights)
        manifest = tiny_models.manifest(kind, "int8")
        extra = {"metadata.json": METADATA} if kind == "tflite" else None
        data = artifact.seal(kind, body, weights, manifest, extra_files=extra)
        path = HERE / f"tiny.int8{suffix}"
        path.write_bytes(data)
        sealed = artifact.read(path).manifest
        assert sealed is not None
        (HERE / f"{kind}.manifest.json").write_bytes(encode(sealed))
        print(path.name, len(data), sealed.identity)


if __name__ == "__main__":
    main()
