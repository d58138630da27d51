"""Constants in other files are read from inside the model's folder, and from nowhere else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from engines import convert_and_run
from onnx_models import small_resnet

from edgecv import artifact
from edgecv.conversion import convert, convert_all, plan
from edgecv.errors import EdgecvError, ModelLoadError, UnsupportedError
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import TARGETS, convert_model, prepare_source


def saved(folder: Path, location: str = "weights/w.bin", **options: bool) -> Path:
    """small_resnet with every constant in *location*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save_model(
        small_resnet().proto(), path, save_as_external_data=True, location=location, size_threshold=0,
        **options,
    )  # fmt: skip
    return path


def entries(change: Callable[[onnx.TensorProto], None], path: Path) -> Path:
    """Rewrite the model at *path* with its first large constant changed."""
    model = onnx.load(path, load_external_data=False)
    change(next(t for t in model.graph.initializer if t.name == "conv1.weight/int"))
    path.write_bytes(model.SerializeToString())
    return path


def entry(key: str, value: str) -> Callable[[onnx.TensorProto], None]:
    def change(tensor: onnx.TensorProto) -> None:
        for said in tensor.external_data:
            if said.key == key:
                said.value = value

    return change


def test_all_targets(tmp_path: Path) -> None:
    path = saved(tmp_path / "model")
    data = {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}
    x = (np.random.default_rng(5).integers(0, 256, (1, 3, 20, 16)) / 255).astype(np.float32)
    whole = convert_and_run(small_resnet().proto().SerializeToString(), tmp_path, x)
    for result in convert_all(path, TARGETS, out=tmp_path / "new"):
        assert compare_parameters(result.path, path) == []
        body = artifact.read(result.path).body
        assert body == artifact.read(whole[result.target][0].path).body
        assert result.manifest.parent is not None
        assert result.manifest.parent["prepared"].startswith("sha256:")
    assert {p: p.read_bytes() for p in data} == data
    assert plan(path).statistics()["by_type"]["CONV_2D"] == 3


def test_one_file_per_constant(tmp_path: Path) -> None:
    path = saved(tmp_path, "model.data", all_tensors_to_one_file=False)
    assert len(list(tmp_path.iterdir())) > 10
    assert convert(path, out=tmp_path / "out").report["verified"]


@pytest.mark.parametrize("target", TARGETS)
def test_bytes_alone_are_refused(tmp_path: Path, target: str) -> None:
    source = saved(tmp_path).read_bytes()
    with pytest.raises(
        UnsupportedError, match=r"keeps its data in another file.*path of the model"
    ):
        convert_model(source, target)


def test_a_link_inside_the_folder(tmp_path: Path) -> None:
    path = saved(tmp_path / "model")
    inside = path.parent / "weights" / "w.bin"
    inside.rename(path.parent / "real.bin")
    inside.symlink_to("../real.bin")
    assert convert(path, out=tmp_path / "out").report["verified"]


def outside_by_name(folder: Path) -> Path:
    shutil.copy(saved(folder / "model").parent / "weights" / "w.bin", folder / "w.bin")
    return entries(entry("location", "../w.bin"), folder / "model" / "model.onnx")


def outside_by_path(folder: Path) -> Path:
    path = saved(folder / "model")
    shutil.copy(path.parent / "weights" / "w.bin", folder / "w.bin")
    return entries(entry("location", str(folder / "w.bin")), path)


def outside_by_link(folder: Path) -> Path:
    path = saved(folder / "model")
    (path.parent / "weights" / "w.bin").rename(folder / "w.bin")
    (path.parent / "weights" / "w.bin").symlink_to(folder / "w.bin")
    return path


def outside_by_linked_folder(folder: Path) -> Path:
    path = saved(folder / "model")
    (path.parent / "weights").rename(folder / "weights")
    (path.parent / "weights").symlink_to("../weights", target_is_directory=True)
    return path


def missing(folder: Path) -> Path:
    path = saved(folder)
    (folder / "weights" / "w.bin").unlink()
    return path


def short(folder: Path) -> Path:
    path = saved(folder)
    with (folder / "weights" / "w.bin").open("r+b") as stream:
        stream.truncate(40)
    return path


def a_pipe(folder: Path) -> Path:
    path = missing(folder)
    os.mkfifo(folder / "weights" / "w.bin")
    return path


def a_loop(folder: Path) -> Path:
    path = missing(folder)
    (folder / "weights" / "w.bin").symlink_to("w.bin")
    return path


def too_large(folder: Path) -> Path:
    """Many constants, each of which reads the same sparse gigabyte."""

    def change(tensor: onnx.TensorProto) -> None:
        tensor.dims[:] = [2**30, 1, 1, 1]
        entry("length", str(2**30))(tensor)
        entry("offset", "0")(tensor)

    path = saved(folder)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        change(tensor)
    path.write_bytes(model.SerializeToString())
    with (folder / "weights" / "w.bin").open("r+b") as stream:
        stream.truncate(2**40)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (outside_by_name, r"lies in '\.\./w\.bin', outside the model's folder"),
        (outside_by_path, "outside the model's folder"),
        (outside_by_link, "outside the model's folder"),
        (outside_by_linked_folder, "outside the model's folder"),
        (lambda f: entries(entry("location", ""), saved(f)), "lies in '', outside"),
        (lambda f: entries(entry("location", "a\0b"), saved(f)), "is not text"),
        (lambda f: entries(entry("location", "x" * 999), saved(f)), "lies in 'x{200}'…, which is no path"),
        (missing, r"w\.bin' with the constant '.*' is missing"),
        (a_pipe, "is missing"),
        (a_loop, "is missing|is no path"),
        (short, r"needs \d+ bytes at \d+ of '.*w\.bin'; its entry says \d+, and \d+ are there"),
        (too_large, r"\d+ bytes with the data in its other files"),
        (lambda f: entries(entry("offset", "-8"), saved(f)), "the offset of .* is '-8'"),
        (lambda f: entries(entry("offset", "9" * 30), saved(f)), "the offset of"),
        (lambda f: entries(entry("offset", "999999999999"), saved(f)), "and 0 are there"),
        (lambda f: entries(entry("length", "7"), saved(f)), "its entry says 7"),
        (lambda f: entries(entry("length", "٣"), saved(f)), "the length of"),
        (lambda f: entries(lambda t: t.dims.append(-5), saved(f)), "has dimensions"),
        (lambda f: entries(lambda t: setattr(t, "data_type", 8), saved(f)), "element type STRING"),
    ],
)  # fmt: skip
def test_refused(make: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    path = make(tmp_path / "source")
    with pytest.raises(EdgecvError, match=said) as caught:
        convert(path, target="onnx", out=tmp_path / "out")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_data_inside_attributes(tmp_path: Path) -> None:
    """Exporters of the dynamo kind keep Constant nodes outside as well."""
    path = saved(tmp_path)
    model = onnx.load(path)
    (tensor,) = [t for t in model.graph.initializer if t.name == "fc.weight/int"]
    node = onnx.helper.make_node("Constant", [], ["fc.weight/int"], value=tensor)
    node.attribute[0].t.name = "fc"
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, node)
    onnx.save_model(
        model, path, save_as_external_data=True, location="w2.bin", size_threshold=0, convert_attribute=True
    )  # fmt: skip
    reread = onnx.load(path, load_external_data=False)
    assert reread.graph.node[0].attribute[0].t.data_location == onnx.TensorProto.EXTERNAL
    assert convert(path, out=tmp_path / "out").report["verified"]
    with pytest.raises(ModelLoadError, match="is missing"):
        prepare_source(path.read_bytes(), folder=tmp_path / "elsewhere")
