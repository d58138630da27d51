"""Attention in the form that integer kernels want: three linear layers instead of a fused one.

A fused qkv layer has one output quantizer for three tensors of different ranges, and the factor
1/sqrt(d) costs a multiplication. Split before training and with the factor in the query's weights, each
gets a quantizer of its own and the attention product none too many. The function is the same up to one
rounding of float32.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgecv.errors import UnsupportedError
from edgecv.models.torchvision_schemas import import_timm

__all__ = [
    "SplitAttention",
    "is_split",
    "join_attention_state",
    "split_attention",
    "split_attention_state",
]

_PARTS = ("q", "k", "v")


class SplitAttention(nn.Module):
    """Multi-head self-attention with ``q``, ``k``, ``v`` and ``proj``.

    Args:
        dim: Channels in and out.
        heads: Number of heads; divides *dim*.
        bias: Whether q, k and v have a bias.
    """

    def __init__(self, dim: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.q: nn.Linear = nn.Linear(dim, dim, bias=bias)
        self.k: nn.Linear = nn.Linear(dim, dim, bias=bias)
        self.v: nn.Linear = nn.Linear(dim, dim, bias=bias)
        self.proj: nn.Linear = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """*x* float [N, tokens, dim] → the same shape; timm's other arguments must keep their defaults.

        Raises:
            UnsupportedError: A mask.
        """
        if attn_mask is not None or is_causal:
            raise UnsupportedError(
                "attention with a mask", cure="Image models attend to all tokens."
            )
        count, tokens, dim = x.shape

        def by_head(y: Tensor) -> Tensor:
            return y.reshape(count, tokens, self.heads, dim // self.heads).transpose(1, 2)

        q, k, v = by_head(self.q(x)), by_head(self.k(x)), by_head(self.v(x))
        weights = (q @ k.transpose(-2, -1)).softmax(dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(count, tokens, dim)
        result: Tensor = self.proj(mixed)
        return result


def split_attention(module: nn.Module) -> dict[str, int]:
    """Replace every timm ``Attention`` inside *module* by a :class:`SplitAttention` of the same function.

    Returns:
        Path of each replaced layer → channels of one head.

    Raises:
        UnsupportedError: An attention layer with norms or dropout of its own.
    """
    import_timm()
    attention: type[nn.Module] = importlib.import_module("timm.layers").Attention
    found: dict[str, Any] = {
        path: m for path, m in module.named_modules() if isinstance(m, attention)
    }
    head_dims = {}
    for path, old in found.items():
        extras = [
            name
            for name, child in old.named_children()
            if name not in ("qkv", "proj") and not isinstance(child, nn.Identity)
            if not (isinstance(child, nn.Dropout) and child.p == 0)
        ]
        if extras:
            raise UnsupportedError(
                f"the attention layer {path!r} has {', '.join(extras)}",
                cure="Plain attention of qkv and proj is known.",
            )
        new = SplitAttention(old.qkv.in_features, old.num_heads, bias=old.qkv.bias is not None)
        new.proj = old.proj
        prefix = {f"qkv.{name}": value for name, value in old.qkv.state_dict().items()}
        state = _split(prefix, "", old.head_dim)
        new.load_state_dict({**state, **{f"proj.{n}": v for n, v in old.proj.state_dict().items()}})
        module.set_submodule(path, new.train(old.training))
        head_dims[path] = old.head_dim
    return head_dims


def is_split(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the keys of split attention."""
    stems = {key.removesuffix(".q.weight") for key in state if key.endswith(".q.weight")}
    return any(f"{stem}.k.weight" in state and f"{stem}.v.weight" in state for stem in stems)


def split_attention_state(
    state: Mapping[str, Tensor], head_dims: Mapping[str, int]
) -> dict[str, Tensor]:
    """Keys of a timm checkpoint to those of the split model; other keys stay.

    Args:
        state: State dict with ``<path>.qkv.*``.
        head_dims: From :func:`split_attention`.
    """
    found = dict(state)
    for path, head_dim in head_dims.items():
        taken = {k: found.pop(k) for k in list(found) if k.startswith(f"{path}.qkv.")}
        found.update(_split(taken, f"{path}.", head_dim))
    return found


def join_attention_state(
    state: Mapping[str, Tensor], head_dims: Mapping[str, int]
) -> dict[str, Tensor]:
    """The way back: keys of the split model to those of timm."""
    found = dict(state)
    for path, head_dim in head_dims.items():
        for kind in ("weight", "bias"):
            if f"{path}.q.{kind}" in found:
                q, k, v = (found.pop(f"{path}.{part}.{kind}") for part in _PARTS)
                found[f"{path}.qkv.{kind}"] = torch.cat([q / _factor(head_dim), k, v])
    return found


def _split(fused: Mapping[str, Tensor], prefix: str, head_dim: int) -> dict[str, Tensor]:
    found = {}
    for key, values in fused.items():
        kind = key.rpartition(".")[2]
        for part, piece in zip(_PARTS, values.chunk(3), strict=True):
            scaled = piece * _factor(head_dim) if part == "q" else piece
            found[f"{prefix}{part}.{kind}"] = scaled.clone()
    return found


def _factor(head_dim: int) -> float:
    return float(head_dim**-0.5)
