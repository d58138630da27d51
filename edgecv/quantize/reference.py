"""The trained model itself as the reference that every engine is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgecv.errors import InputError
from edgecv.quantize.qat import as_tensor

__all__ = ["predict"]


def predict(model: nn.Module, batches: Iterable[Any]) -> npt.NDArray[np.float32]:
    """Logits of *model* in evaluation mode, float32 [pictures, classes].

    Args:
        model: A float model or what :func:`~edgecv.quantize.prepare_qat` returned.
        batches: Arrays or tensors [N, 3, H, W] float32 in [0, 1].

    Raises:
        InputError: There is no picture.
    """
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.inference_mode():
            found = [model(as_tensor(batch).to(device)).float().cpu().numpy() for batch in batches]
    finally:
        model.train(training)
    if not found:
        raise InputError("no pictures to predict", cure="Give at least one batch.")
    return np.concatenate(found)
