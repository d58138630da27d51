"""Models by name: normalization inside, preprocessing beside, weights checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch_nets import pictures

from edgecv.artifact.manifest import Preprocess
from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.models import create, fold_agreement, imagenet_labels, list_models
from edgecv.models.normalization import fold_into_first_convolution, prepend_operator
from edgecv.models.torchvision_schemas import import_timm

SIZE = (40, 32)


def plain(name: str, classes: int, seed: int) -> nn.Module:
    """The model as timm makes it, expecting normalized pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = import_timm().create_model(name, num_classes=classes)
    return model.eval()


def test_micro_is_small_and_works_on_pictures_that_are_not_square() -> None:
    made = create("resnet10_micro", num_classes=7, size=(48, 40))
    count = sum(p.numel() for p in made.module.parameters())
    assert 100_000 < count < 400_000
    assert made.module.eval()(pictures(2, (48, 40))).shape == (2, 7)
    assert isinstance(made.module.get_submodule("maxpool"), nn.MaxPool2d)
    assert (made.num_classes, made.name, made.labels) == (7, "resnet10_micro", ())
    assert made.preprocess == Preprocess(size=(48, 40), interpolation="bicubic")


class OneConvolution(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, padding=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.stem(x)
        return found


@pytest.mark.parametrize("normalize", ["fold", "op"])
def test_normalization_inside_equals_normalization_outside_away_from_the_border(
    normalize: str,
) -> None:
    mean, std = (0.2, 0.5, 0.7), (0.1, 0.3, 0.5)
    conv, reference = (OneConvolution(bias=normalize == "op") for _ in range(2))
    reference.load_state_dict(conv.state_dict())
    if normalize == "fold":
        fold_into_first_convolution(conv, "stem", mean, std)
    else:
        prepend_operator(conv, mean, std)
    x = pictures(2, SIZE)
    means, stds = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    expected, found = reference((x - means) / stds), conv(x)
    inside = np.s_[:, :, 1:-1, 1:-1] if normalize == "fold" else np.s_[:]
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-4)
    if normalize == "fold":
        assert (found[:, :, 0] - expected[:, :, 0]).abs().max() > 1e-3


def test_folding_keeps_the_state_dict_keys_and_adds_a_bias() -> None:
    keys = set(create("resnet18", num_classes=5).module.state_dict())
    assert keys == {*plain("resnet18", 5, 0).state_dict(), "conv1.bias"}
    keys = set(create("resnet18", num_classes=5, normalize="op").module.state_dict())
    own = {"normalize.weight", "normalize.bias"}
    assert keys == {*plain("resnet18", 5, 0).state_dict(), *own}


def test_the_operator_is_exact_at_the_border_and_does_not_learn() -> None:
    made = create("resnet10t", num_classes=5, normalize="op", seed=3)
    original = plain("resnet10t", 5, seed=3)
    mean, std = original.pretrained_cfg["mean"], original.pretrained_cfg["std"]
    report = fold_agreement(made.module, original, [pictures(4, SIZE)], mean=mean, std=std)
    assert report.pictures == 4
    assert report.agreement == 1.0
    assert report.max_logit_difference < 1e-5
    assert not made.module.get_parameter("normalize.weight").requires_grad


def test_weights_depend_on_the_seed_only_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (create("resnet10_micro", seed=s).module for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(one.state_dict().values(), same.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.get_parameter("fc.weight"), other.get_parameter("fc.weight"))


def test_published_preprocessing_comes_with_weights_only(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(plain("resnet18", 1000, seed=4).state_dict(), path)
    published = create("resnet18", weights=path).preprocess
    assert published == Preprocess(size=(224, 224), crop_fraction=0.95, interpolation="bicubic")
    assert create("resnet18").preprocess.crop_fraction == 1.0
    assert published.mean == (0, 0, 0)
    assert published.std == (1, 1, 1)


def test_fold_report_says_how_far_folded_is_from_original(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    original = plain("resnet18", 10, seed=4)
    save_file(original.state_dict(), path)
    batches = [pictures(3, SIZE), pictures(2, SIZE, seed=1).numpy()]
    made = create("resnet18", num_classes=10, weights=path, fold_batches=batches, size=SIZE)
    report = made.fold_report
    assert report is not None
    assert report.pictures == 5
    assert report.agreement == 1 - report.flips / 5
    mean, std = (torch.tensor(original.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    x = torch.cat([torch.as_tensor(b) for b in batches])
    with torch.inference_mode():
        expected = original((x - mean) / std)
        difference = float((made.module.eval()(x) - expected).abs().max())
    assert report.max_logit_difference == pytest.approx(difference, rel=1e-3)
    assert 0 < report.max_logit_difference < report.logit_range


def test_pictures_to_compare_on_may_be_made_for_the_preprocessing() -> None:
    """Once, when it is known; not at all where nothing is folded."""
    asked = []

    def decode(preprocess: Preprocess) -> list[torch.Tensor]:
        asked.append(preprocess)
        return [pictures(2, preprocess.size)]

    made = create("resnet10_micro", size=SIZE, fold_batches=decode)
    assert asked == [made.preprocess]
    assert made.fold_report is not None
    assert made.fold_report.pictures == 2
    made = create("resnet10_micro", size=SIZE, normalize="op", fold_batches=decode)
    assert (len(asked), made.fold_report) == (1, None)


def test_comparing_on_no_pictures_is_refused() -> None:
    model = create("resnet10_micro").module
    with pytest.raises(InputError, match="no pictures"):
        fold_agreement(model, model, [], mean=(0, 0, 0), std=(1, 1, 1))


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(UnsupportedError, match=r"'resnt18'.*resnet18") as caught:
        create("resnt18")
    assert caught.value.exit_code == 2
    with pytest.raises(UnsupportedError, match=r"list_models"):
        create("qqqqqqqqqqq")


def test_list_models_starts_with_our_own() -> None:
    assert list_models()[0] == "resnet10_micro"
    assert "resnet18" in list_models()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "1 classes"),
        ({"mean": (0.5, 0.5)}, "mean"),
        ({"std": (0.5, 0.0, 0.5)}, "not positive"),
        ({"size": (0, 32)}, r"\(0, 32\)"),
        ({"num_classes": 10, "imagenet_names": True}, "1000 classes"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create("resnet10_micro", **arguments)  # type: ignore[arg-type]


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="'fuse'"):
        create("resnet10_micro", normalize="fuse")


def test_folding_into_something_else_than_a_convolution_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'0' is no convolution.*normalize=.op"):
        fold_into_first_convolution(nn.Sequential(nn.Linear(3, 4)), "0", (0, 0, 0), (1, 1, 1))


def test_imagenet_names_are_complete_and_unique() -> None:
    names = imagenet_labels()
    assert len(names) == len(set(names)) == 1000
    assert names[0] == "tench, Tinca tinca"
    made = create("resnet18", imagenet_names=True)
    assert made.labels == names


# weights


def test_weights_are_loaded_from_both_formats_and_from_nested_checkpoints(tmp_path: Path) -> None:
    state = plain("resnet10t", 6, seed=9).state_dict()
    torch.save(state, tmp_path / "plain.pth")
    save_file(state, tmp_path / "plain.safetensors")
    wrapped = {f"module.{k}": v for k, v in state.items() if "num_batches" not in k}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "nested.pt")
    for name in ("plain.pth", "plain.safetensors", "nested.pt"):
        made = create("resnet10t", num_classes=6, weights=tmp_path / name)
        assert torch.equal(made.module.get_parameter("fc.weight"), state["fc.weight"])


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    state = plain("resnet10t", 6, seed=9).state_dict()
    del state["layer1.0.conv1.weight"]
    state["head.weight"] = state.pop("fc.bias")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError) as caught:
        create("resnet10t", num_classes=5, weights=tmp_path / "w.safetensors")
    message = str(caught.value)
    assert "missing: layer1.0.conv1.weight, fc.bias" in message
    assert "unexpected: head.weight" in message
    assert "fc.weight is [6, 512], the model has [5, 512]" in message


def bad_files(folder: Path) -> dict[str, Path]:
    found = {
        name: folder / name for name in ("absent.pth", "text.pth", "cut.pth", "text.safetensors")
    }
    found["text.pth"].write_text("hello")
    found["text.safetensors"].write_text("hello")
    torch.save({"w": torch.zeros(100)}, folder / "whole.pth")
    found["cut.pth"].write_bytes((folder / "whole.pth").read_bytes()[:200])
    found["empty.pth"] = folder / "empty.pth"
    found["empty.pth"].write_bytes(b"")
    found["list.pth"] = folder / "list.pth"
    torch.save([torch.zeros(2)], found["list.pth"])
    found["numbers.pth"] = folder / "numbers.pth"
    torch.save({"w": 3.0}, found["numbers.pth"])
    found["code.pth"] = folder / "code.pth"
    torch.save(nn.Linear(2, 2), found["code.pth"])
    return found


@pytest.mark.parametrize(
    "name",
    [
        "absent.pth",
        "text.pth",
        "text.safetensors",
        "cut.pth",
        "empty.pth",
        "list.pth",
        "numbers.pth",
        "code.pth",
    ],
)
def test_bad_weight_files_give_one_clear_error(tmp_path: Path, name: str) -> None:
    path = bad_files(tmp_path)[name]
    with pytest.raises(ModelLoadError, match=name):
        create("resnet10_micro", weights=path)


def test_real_weights_load_and_fold(outside_data: Path) -> None:
    path = outside_data / "weights" / "mobilenetv2_100_timm_from_coral_int8.safetensors"
    made = create(
        "mobilenetv2_100",
        weights=path,
        size=(96, 96),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        fold_batches=[pictures(4, (96, 96))],
    )
    assert made.num_classes == 1000
    assert made.fold_report is not None
    assert made.fold_report.max_logit_difference > 0
