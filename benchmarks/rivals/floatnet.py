"""The float model for tools that start from torch: timm's own, with the weights of the job."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from job import Job
from torch import nn

__all__ = ["load"]

#: Must live as long as the operators it defines.
_fragments: list[torch.library.Library] = []


def load(job: Job) -> nn.Module:
    """The model in eval mode: float32 [N, 3, H, W] in [0, 1] to logits."""
    _mend_torchvision()
    import timm

    state = torch.load(job.weights, weights_only=True)
    model: nn.Module = timm.create_model(job.arch, num_classes=10)
    own = model.state_dict()
    for key in state:
        # the first convolution has a bias since the normalization was folded into it
        if key.endswith(".bias") and key not in own:
            layer = model.get_submodule(key.removesuffix(".bias"))
            layer.bias = nn.Parameter(torch.zeros_like(state[key]))
    model.load_state_dict(state)
    job.used("torch", "timm")
    return model.eval()


def _mend_torchvision() -> None:
    """Define what a torchvision built for CUDA misses beside the CPU build of torch."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        for compiled in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(compiled)
    except OSError:
        _fragments.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in ("nms", "qnms"):
            _fragments[0].define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
