"""Loading somebody's state dict: safe formats only, and errors that name the keys."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgecv.errors import InputError, ModelLoadError, require

__all__ = ["load_into", "read_state_dict"]

#: Keys under which training scripts nest the weights.
_NESTS = ("state_dict_ema", "model_ema", "state_dict", "model")
_SHOWN = 4


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` or ``.pth``/``.pt``/``.th`` file, on the CPU.

    A checkpoint that nests its weights (``state_dict``, ``model``, their EMA variants first) is
    opened, and a ``module.`` prefix left by DataParallel is dropped. Pickles are read with
    ``weights_only``.

    Raises:
        ModelLoadError: The file is missing, damaged, unsafe or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelLoadError(
            f"the weights file {str(path)!r} does not exist", cure="Check the path."
        )
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for nest in _NESTS:
        if isinstance(found, Mapping) and isinstance(found.get(nest), Mapping):
            found = found[nest]
    if not isinstance(found, Mapping) or not found:
        raise ModelLoadError(
            f"{str(path)!r} holds no state dict but {type(found).__name__}",
            cure="Save the weights with torch.save(model.state_dict(), path) or as safetensors.",
        )
    odd = [str(k) for k, v in found.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if odd:
        raise ModelLoadError(
            f"{str(path)!r} holds entries that are no tensors: {_some(odd)}",
            cure="Save only the state dict.",
        )
    return {key.removeprefix("module."): value for key, value in found.items()}


def _read_safetensors(path: Path) -> Any:
    require("safetensors", extra="train")
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise ModelLoadError(
            f"{str(path)!r} is not a safetensors file ({error})", cure="Copy or download it again."
        ) from error


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelLoadError(
            f"{str(path)!r} cannot be read as a state dict ({first_line})",
            cure="Save only tensors, e.g. torch.save(model.state_dict(), path); other pickles are"
            " refused because they can run code.",
        ) from error


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load *state* into *module*; all or nothing.

    A missing ``num_batches_tracked`` is no error: old checkpoints have none, and nothing reads it
    here.

    Raises:
        InputError: Keys are missing or unexpected, or shapes differ; the message names them.
    """
    own = module.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in counters]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} is {list(state[key].shape)}, the model has {list(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    problems = [
        f"{title}: {_some(names)}"
        for title, names in (("missing", missing), ("unexpected", unexpected), ("shape", shapes))
        if names
    ]
    if problems:
        raise InputError(
            f"the weights in {source!r} do not fit the model ({'; '.join(problems)})",
            cure="Check the model name and the number of classes.",
        )
    module.load_state_dict({**{key: own[key] for key in counters}, **state})


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
