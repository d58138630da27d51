"""Edits single numbers of a sealed artifact, for negative controls; the digests are recomputed afterwards.

Numbers are named as the source names its initializers (``conv1.weight/int``, ``act1/scale``,
``act1/zero_point``, in float files ``conv1.weight``) and arranged as the source arranges them, whatever
the file's own order is. Written without edgecv.verify and without the converter: those are under test.
"""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tflite
from onnx import numpy_helper
from reseal import reseal

from edgecv import artifact

__all__ = ["Copy", "OnnxCopy", "OpenVINOCopy", "TFLiteCopy", "copy_files", "open_copy"]

Array = npt.NDArray[Any]


def copy_files(path: Path, folder: Path) -> Path:
    """A copy of the artifact at *path*, with its bin if it has one."""
    for suffix in {path.suffix, ".bin"}:
        if path.with_suffix(suffix).is_file():
            shutil.copy(path.with_suffix(suffix), folder)
    return folder / path.name


def open_copy(path: Path) -> Copy:
    """The artifact at *path*, to be edited in place."""
    kinds: dict[str, type[Copy]] = {
        ".tflite": TFLiteCopy,
        ".xml": OpenVINOCopy,
        ".onnx": OnnxCopy,
    }
    return kinds[path.suffix](path)


class Copy:
    """An artifact whose numbers can be edited."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.body = artifact.read(path).body

    def array(self, name: str) -> Array:
        """The numbers that the source calls *name*, to be changed in place."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """All that :meth:`array` takes, but what are attributes in the source."""
        raise NotImplementedError

    def write(self) -> None:
        """Write the file with its old manifest."""
        raise NotImplementedError

    def save(self) -> None:
        """Write the file and make it intact again."""
        self.write()
        reseal(self.path)

    def replace_body(self, body: bytes) -> None:
        """Put *body* in front of the manifest, where that stands at the end."""
        self.path.write_bytes(body + self.path.read_bytes()[len(self.body) :])


class TFLiteCopy(Copy):
    """A flatbuffer whose numbers are edited where they lie."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._data = bytearray(self.body)
        self._model = tflite.Model.GetRootAs(self._data, 0)
        graph = self._model.Subgraphs(0)
        tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
        self.tensors = {t.Name().decode(): t for t in tensors}
        #: tensor → operator code and input position of what reads it first
        self._readers: dict[str, tuple[int, int]] = {}
        for op in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            code = self._model.OperatorCodes(op.OpcodeIndex()).BuiltinCode()
            for position, index in enumerate(op.InputsAsNumpy()):
                self._readers.setdefault(tensors[index].Name().decode(), (code, position))

    def names(self) -> list[str]:
        found = []
        for name, tensor in self.tensors.items():
            quantized = tensor.Quantization() is not None
            if quantized:
                found += [f"{name}/scale", f"{name}/zero_point"]
            kind = tensor.Type()
            if self._model.Buffers(tensor.Buffer()).DataLength() and (
                quantized or kind == tflite.TensorType.FLOAT32
            ):
                found.append(f"{name}/int" if quantized else name)
        return found

    def array(self, name: str) -> Array:
        tensor = self.tensors[re.sub("/(int|scale|zero_point)$", "", name)]
        if name.endswith("/scale"):
            scales: Array = tensor.Quantization().ScaleAsNumpy()
            return scales
        if name.endswith("/zero_point"):
            zeros: Array = tensor.Quantization().ZeroPointAsNumpy()
            return zeros
        return self._elements(tensor)

    def set_axis(self, name: str, axis: int) -> None:
        """Let the scales of tensor *name* count along another dimension, where the file states one."""
        table = self.tensors[name].Quantization()._tab
        # schema.fbs: quantized_dimension is field 6 of QuantizationParameters
        offset = table.Offset(4 + 2 * 6)
        assert offset
        at = table.Pos + offset
        self._data[at : at + 4] = axis.to_bytes(4, "little")

    def _elements(self, tensor: Any) -> Array:
        types = tflite.TensorType
        dtypes = {types.FLOAT32: np.float32, types.INT8: np.int8, types.INT32: np.int32}
        shape = tuple(tensor.Shape(i) for i in range(tensor.ShapeLength()))
        raw: Array = self._model.Buffers(tensor.Buffer()).DataAsNumpy()
        found = raw.view(dtypes[tensor.Type()]).reshape(shape)
        operators = tflite.BuiltinOperator
        orders = {
            (operators.CONV_2D, 1): (0, 3, 1, 2),
            (operators.DEPTHWISE_CONV_2D, 1): (3, 0, 1, 2),
            (operators.FULLY_CONNECTED, 1): (1, 0),
        }
        order = orders.get(self._readers[tensor.Name().decode()])
        return found if order is None else found.transpose(order)

    def write(self) -> None:
        self.replace_body(bytes(self._data))


class OpenVINOCopy(Copy):
    """An IR. Equal constants share their bytes in the bin, so an edited one is moved behind them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._xml = path.read_text()
        self._bin = path.with_suffix(".bin").read_bytes()
        self._root = ET.fromstring(self._xml)
        self._edited: dict[str, Array] = {}

    def names(self) -> list[str]:
        layers = {layer.attrib["id"]: layer for layer in self._root.iter("layer")}
        # Gemm's factors, attributes in the source, become products without a name
        factors = {
            edge.attrib["from-layer"]
            for edge in self._root.iter("edge")
            if (to := layers[edge.attrib["to-layer"]]).attrib["type"] == "Multiply"
            and to.find("./output/port[@names]") is None
        }
        consts = [c for i, c in layers.items() if c.attrib["type"] == "Const" and i not in factors]
        names = [c.attrib["name"] for c in consts]
        return [name for name in names if self._data(name)["element_type"] != "i64"]

    def array(self, name: str) -> Array:
        if name not in self._edited:
            data = self._data(name)
            codes = {"f32": "f4", "i8": "i1", "u8": "u1", "i32": "i4", "i64": "i8"}
            dtype = np.dtype(codes[data["element_type"]])
            shape = [int(d) for d in data["shape"].split(",") if d.strip()]
            count = int(data["size"]) // dtype.itemsize
            found = np.frombuffer(self._bin, dtype, count, int(data["offset"]))
            self._edited[name] = found.reshape(shape).copy()
        return self._edited[name]

    def operand(self, output: str, *ports: int) -> str:
        """Name of the layer behind the one that writes *output*, input by input.

        ``operand("act1/int", 0, 2)`` is input 2 of the FakeQuantize behind the Convert of ``act1/int``.
        """
        ids = {layer.attrib["id"]: layer.attrib["name"] for layer in self._root.iter("layer")}
        found = next(
            layer.attrib["id"]
            for layer in self._root.iter("layer")
            if any(port.get("names") == output for port in layer.iter("port"))
        )
        for port in ports:
            edge = self._root.find(f"./edges/edge[@to-layer='{found}'][@to-port='{port}']")
            assert edge is not None
            found = edge.attrib["from-layer"]
        return ids[found]

    def _data(self, name: str) -> dict[str, str]:
        data = self._root.find(f"./layers/layer[@name='{name}']/data")
        assert data is not None, name
        return data.attrib

    def write(self) -> None:
        for name, values in self._edited.items():
            where = rf'(<layer id="\d+" name="{re.escape(name)}" type="Const".*?offset=")\d+'
            self._xml, count = re.subn(
                where, rf"\g<1>{len(self._bin)}", self._xml, count=1, flags=re.DOTALL
            )
            assert count == 1
            self._bin += values.tobytes()
        self.path.write_text(self._xml)
        self.path.with_suffix(".bin").write_bytes(self._bin)


class OnnxCopy(Copy):
    """An ONNX file edited as protobuf; the manifest's entry stays last."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.model = onnx.ModelProto.FromString(self.body)
        self._edited: dict[str, Array] = {}

    def names(self) -> list[str]:
        return [i.name for i in self.model.graph.initializer]

    def array(self, name: str) -> Array:
        if name not in self._edited:
            self._edited[name] = numpy_helper.to_array(self._initializer(name)).copy()
        return self._edited[name]

    def _initializer(self, name: str) -> Any:
        return next(i for i in self.model.graph.initializer if i.name == name)

    def write(self) -> None:
        for name, values in self._edited.items():
            self._initializer(name).CopyFrom(numpy_helper.from_array(values, name))
        self.replace_body(self.model.SerializeToString(deterministic=True))
