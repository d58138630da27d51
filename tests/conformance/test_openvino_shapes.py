"""OpenVINO gets static shapes, or the file is refused; and what it has no kernels for runs in float."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_models
from onnx import TensorProto, helper, numpy_helper

from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.runtime import Runtime
from edgecv_runtimes import openvino as backend
from edgecv_runtimes.quiet import import_openvino


def baked_reshape(
    batch: int | str, height: int | str = 4, *, target: tuple[int, int] = (1, 32), ir: bool = True
) -> Any:
    """Shape [batch, 2, height, 4], made flat by a reshape whose target stands in the file, and summed up."""
    nodes = [
        helper.make_node("Relu", ["input"], ["positive"]),
        helper.make_node("Reshape", ["positive", "target"], ["flat"]),
        helper.make_node("MatMul", ["flat", "ones"], ["sum"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(target, np.int64), "target"),
        numpy_helper.from_array(np.ones((target[1], 1), np.float32), "ones"),
    ]
    graph = helper.make_graph(
        nodes,
        "baked",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 2, height, 4])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    data = bytes(model.SerializeToString())
    return tiny_models.to_ir(data) if ir else data


@pytest.mark.parametrize("ir", [True, False], ids=["ir", "onnx"])
def test_an_open_batch_under_a_baked_reshape_is_bound(ir: bool) -> None:
    with Runtime(baked_reshape("N", ir=ir), backend="openvino") as runtime:
        [spec] = runtime.info.inputs
        assert spec.shape == (1, 2, 4, 4)
        for seed in range(20):
            x = np.random.default_rng(seed).normal(0, 1, spec.shape).astype(np.float32)
            expected = np.maximum(x, 0).sum()
            assert runtime.infer(x)["sum"].item() == pytest.approx(expected, rel=1e-5)
        # a smaller picture is what returned 1e17 and then killed the process
        for wrong in ((1, 2, 3, 4), (1, 2, 4, 3), (2, 2, 4, 2), (1, 2, 4)):
            with pytest.raises(InputError, match="does not fit"):
                runtime.infer(np.zeros(wrong, np.float32))


@pytest.mark.parametrize("ir", [True, False], ids=["ir", "onnx"])
@pytest.mark.parametrize("batch", [1, "N"])
def test_another_open_dimension_is_refused(batch: int | str, ir: bool) -> None:
    with pytest.raises(UnsupportedError, match="its input has the open shape") as caught:
        Runtime(baked_reshape(batch, "H", ir=ir), backend="openvino")
    assert "fixed height and width" in caught.value.cure


@pytest.mark.parametrize("ir", [True, False], ids=["ir", "onnx"])
def test_a_batch_baked_into_a_reshape_is_bound(ir: bool) -> None:
    """OpenVINO mends this one itself when the batch is set."""
    with Runtime(baked_reshape("N", target=(4, 32), ir=ir), backend="openvino") as runtime:
        x = np.random.default_rng(0).normal(0, 1, (1, 2, 4, 4)).astype(np.float32)
        assert runtime.infer(x)["sum"] == pytest.approx(np.maximum(x, 0).sum(), rel=1e-5)


@pytest.mark.parametrize("ir", [True, False], ids=["ir", "onnx"])
def test_a_reshape_that_one_picture_does_not_fit_is_refused(ir: bool) -> None:
    with pytest.raises(ModelLoadError, match="OpenVINO cannot load it"):
        Runtime(baked_reshape("N", target=(1, 48), ir=ir), backend="openvino")


def test_an_open_result_is_refused() -> None:
    """As many as there are values above zero: nobody knows before."""
    node = helper.make_node("NonZero", ["input"], ["places"])
    graph = helper.make_graph(
        [node],
        "open",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("places", TensorProto.INT64, [2, None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    with pytest.raises(UnsupportedError, match="its output has the open shape"):
        Runtime(bytes(model.SerializeToString()), backend="openvino")


class _Core:
    """OpenVINO's own core, whose first compilation fails as on an Arm core without fp16."""

    def __init__(self, complaints: list[str], settings: list[dict[str, Any]]) -> None:
        self._core = import_openvino().Core()
        self._complaints, self._settings = complaints, settings

    def read_model(self, *files: bytes) -> Any:
        return self._core.read_model(*files)

    def compile_model(self, network: Any, device: str, settings: dict[str, Any]) -> Any:
        self._settings.append(settings)
        if self._complaints:
            raise RuntimeError(self._complaints.pop(0))
        wanted = {key: value for key, value in settings.items() if key != "LP_TRANSFORMS_MODE"}
        return self._core.compile_model(network, device, wanted)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[dict[str, Any]]]:
    """What the fake core complains about, call by call, and the settings that it was given."""
    complaints: list[str] = []
    settings: list[dict[str, Any]] = []
    real = import_openvino()
    fake = SimpleNamespace(
        Core=lambda: _Core(complaints, settings),
        Tensor=real.Tensor,
        opset1=real.opset1,
        __version__=real.__version__,
    )
    monkeypatch.setattr(backend, "import_openvino", lambda: fake)
    return complaints, settings


NO_KERNEL = "Exception from src/plugin.cpp:1:\nprimitive descriptor: object is not initialized"


def test_int8_without_kernels_is_compiled_again_in_float(
    tried: tuple[list[str], list[dict[str, Any]]],
) -> None:
    complaints, settings = tried
    complaints.append(NO_KERNEL)
    with Runtime(tiny_models.openvino("int8"), backend="openvino") as runtime:
        assert [one.get("LP_TRANSFORMS_MODE") for one in settings] == [None, "NO"]
        assert "OpenVINO has no int8 kernels for this CPU" in runtime.info.precision
        spec = runtime.info.inputs[0]
        assert runtime.infer(np.zeros(spec.shape, np.float32))["logits"].shape == (1, 3)


def test_other_complaints_are_not_tried_again(
    tried: tuple[list[str], list[dict[str, Any]]],
) -> None:
    complaints, settings = tried
    complaints.append("no memory")
    with pytest.raises(ModelLoadError, match="OpenVINO cannot load it: no memory"):
        Runtime(tiny_models.openvino("int8"), backend="openvino")
    assert len(settings) == 1
    complaints.extend([NO_KERNEL, "and not in float"])
    with pytest.raises(ModelLoadError, match="OpenVINO cannot load it: and not in float"):
        Runtime(tiny_models.openvino("int8"), backend="openvino")
