"""What the self-test runs on: the shipped model in every format, pictures, and recorded answers.

One zip archive in the package, ``digits.zip``, since the xml of an OpenVINO model shrinks to a twentieth.
``python -m edgecv.demo.shipped`` makes it.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecv.errors import ModelLoadError
from edgecv.spec.types import QuantParams

__all__ = ["MODELS", "SCHEMA", "Bundle", "load_bundle"]

#: Version of ``answers.json``.
SCHEMA: Final = "1.0"
#: Kind of file → its name in the archive; the bin of OpenVINO lies beside the xml.
MODELS: Final = {
    "tflite": "digits.int8.tflite",
    "openvino": "digits.int8.xml",
    "onnx": "digits.int8.onnx",
}
_FILE: Final = "digits.zip"
_SHEET, _ANSWERS = "pictures.png", "answers.json"
#: No archive of ours holds more; one that claims more is not unpacked.
_MAX_BYTES: Final = 4 << 20
_DAY_ONE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """The shipped model and what it answers.

    Attributes:
        files: Name → content of the model files.
        pictures: uint8 [pictures, H, W, 3].
        labels: What each picture shows; the model is right on all of them.
        integers: int8 [pictures, classes], as LiteRT answers.
        output: Scale and zero point of those integers.
        tolerance: Engine → by how much its integers may differ from these.
        made_with: Tool → version, where the file was made; every engine gave these integers there.
    """

    files: Mapping[str, bytes] = field(repr=False)
    pictures: npt.NDArray[np.uint8] = field(repr=False)
    labels: tuple[str, ...]
    integers: npt.NDArray[np.int8] = field(repr=False)
    output: QuantParams
    tolerance: Mapping[str, int]
    made_with: Mapping[str, str]

    def unpack(self, folder: Path) -> None:
        """Write the model files into *folder*."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    def to_bytes(self) -> bytes:
        """The archive; the same bytes for the same content."""
        answers = {
            "schema": SCHEMA,
            "labels": list(self.labels),
            "integers": self.integers.tolist(),
            "output": {"scale": self.output.scale, "zero_point": self.output.zero_point},
            "tolerance": dict(self.tolerance),
            "made_with": dict(self.made_with),
        }
        sheet = io.BytesIO()
        Image.fromarray(np.concatenate(list(self.pictures))).save(sheet, "png", optimize=True)
        members = {
            **dict(self.files),
            _SHEET: sheet.getvalue(),
            _ANSWERS: json.dumps(answers, sort_keys=True, separators=(",", ":")).encode(),
        }
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for name, content in sorted(members.items()):
                info = zipfile.ZipInfo(name, _DAY_ONE)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                packed.writestr(info, content)
        return archive.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """Read what :meth:`to_bytes` made.

        Raises:
            ModelLoadError: Damaged.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                if sum(member.file_size for member in packed.infolist()) > _MAX_BYTES:
                    raise ValueError("it unpacks to more than it should")
                members = {name: packed.read(name) for name in packed.namelist()}
            answers = json.loads(members.pop(_ANSWERS))
            sheet = np.asarray(Image.open(io.BytesIO(members.pop(_SHEET))).convert("RGB"))
            labels, grid = tuple(answers["labels"]), answers["output"]
            return cls(
                files=members,
                pictures=sheet.reshape(len(labels), -1, *sheet.shape[1:]),
                labels=labels,
                integers=np.array(answers["integers"], np.int8),
                output=QuantParams(grid["scale"], grid["zero_point"]),
                tolerance=answers["tolerance"],
                made_with=answers["made_with"],
            )
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise ModelLoadError(
                f"the shipped model is damaged ({error})", cure="Install edgecv again."
            ) from error


def load_bundle() -> Bundle:
    """The one that ships.

    Raises:
        ModelLoadError: Missing or damaged.
    """
    try:
        data = resources.files("edgecv.selftest").joinpath(_FILE).read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"the shipped model is missing ({error})", cure="Install edgecv again."
        ) from error
    return Bundle.from_bytes(data)
