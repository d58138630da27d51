"""Split attention is the same function, and its keys lead both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgecv.errors import UnsupportedError
from edgecv.models import create
from edgecv.models.attention import (
    SplitAttention,
    is_split,
    join_attention_state,
    split_attention,
    split_attention_state,
)
from edgecv.models.torchvision_schemas import import_timm

SIZE = (64, 64)


@pytest.fixture
def original() -> nn.Module:
    torch.manual_seed(0)
    model = import_timm().create_model("mobilevit_xxs", num_classes=4)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


def copy_of(model: nn.Module) -> nn.Module:
    again = import_timm().create_model("mobilevit_xxs", num_classes=4).eval()
    again.load_state_dict(model.state_dict())
    return again


def test_the_function_is_the_same(original: nn.Module) -> None:
    x = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    split = copy_of(original)
    assert len(split_attention(split)) == 9
    assert sum(isinstance(m, SplitAttention) for m in split.modules()) == 9
    with torch.no_grad():
        torch.testing.assert_close(split(x), original(x), rtol=1e-5, atol=1e-6)


def test_keys_lead_to_the_split_form_and_back(original: nn.Module) -> None:
    split = copy_of(original)
    heads = split_attention(split)
    state = split_attention_state(original.state_dict(), heads)
    assert state.keys() == split.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in split.state_dict().items())
    back = join_attention_state(state, heads)
    assert back.keys() == original.state_dict().keys()
    for key, value in original.state_dict().items():
        torch.testing.assert_close(back[key], value, rtol=1e-6, atol=1e-8)
    assert is_split(state)
    assert not is_split(back)


def test_create_takes_weights_of_either_form(original: nn.Module, tmp_path: Path) -> None:
    x = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    save_file(original.state_dict(), tmp_path / "theirs.safetensors")
    first = create("mobilevit_xxs", num_classes=4, size=SIZE, weights=tmp_path / "theirs.safetensors",
                   mean=(0, 0, 0), std=(1, 1, 1))  # fmt: skip
    assert first.module.get_parameter("stages.2.1.transformer.0.attn.q.weight").shape == (64, 64)
    state = {k: v for k, v in first.module.state_dict().items() if k != "stem.conv.bias"}
    save_file(state, tmp_path / "ours.safetensors")
    second = create("mobilevit_xxs", num_classes=4, size=SIZE, weights=tmp_path / "ours.safetensors",
                    mean=(0, 0, 0), std=(1, 1, 1))  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(first.module.eval()(x), original(x), rtol=1e-5, atol=1e-6)
        assert torch.equal(second.module.eval()(x), first.module(x))


def test_attention_of_another_kind_is_refused() -> None:
    timm = import_timm()
    from timm.layers import Attention

    assert timm
    model = nn.Sequential(
        Attention(16, num_heads=2, qkv_bias=True, qk_norm=True, norm_layer=nn.LayerNorm)
    )
    with pytest.raises(UnsupportedError, match=r"'0' has q_norm, k_norm"):
        split_attention(model)


def test_a_mask_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="mask"):
        SplitAttention(8, 2)(torch.zeros(1, 4, 8), attn_mask=torch.zeros(4, 4))
