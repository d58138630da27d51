"""What every backend is: one class around one engine, and helpers that several of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    NamedTuple,
    Protocol,
    Self,
    runtime_checkable,
)

import numpy.typing as npt

from edgecv.artifact import ModelFile
from edgecv.errors import EdgecvError, ModelLoadError, UnsupportedError
from edgecv.spec.types import TensorSpec

if TYPE_CHECKING:
    from edgecv.results import LayerTime

__all__ = [
    "FLOAT_PRECISIONS",
    "Array",
    "Backend",
    "ExecutedLayer",
    "ListsLayers",
    "ProfilesLayers",
    "engine_failed",
    "guess_layout",
    "load_failed",
    "only_f32",
    "summarize_precision",
    "unique_names",
]

Array = npt.NDArray[Any]

#: What floating-point layers may be asked to compute in.
FLOAT_PRECISIONS: Final = ("f32", "f16", "bf16")


class Backend(Protocol):
    """An engine that runs model files.

    A backend gets bytes, never a path: loading by path skips the checks of several engines. It may
    trust its caller (:class:`edgecv.Runtime`) to have compared names, shapes and dtypes with
    :attr:`inputs` and to have refused NaN. :meth:`infer` may be called from several threads at once
    and must give each its own answer.

    Attributes:
        name: Unique among the backends, e.g. ``"litert"``.
        kinds: Kinds of files it runs, the one it is made for first.
        inputs: In the file's own terms; a layout only where the file says it or the shape leaves no
            doubt; batch dimensions that the file leaves open are bound to 1.
        outputs: Likewise.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(self, model: ModelFile, *, threads: int, float_precision: str = "f32") -> None:
        """Load *model*.

        Args:
            model: The file.
            threads: Threads of the engine, at least 1.
            float_precision: One of :data:`FLOAT_PRECISIONS`.

        Raises:
            MissingExtraError: The engine is not installed.
            ModelLoadError: The engine refuses the file.
            UnsupportedError: The file or the precision needs something that edgecv does not do with
                this engine.
        """

    @classmethod
    def version(cls) -> str:
        """Version of the engine."""

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once.

        Args:
            feeds: An array for every input, of its shape and dtype.

        Returns:
            An array for every output, owned by the caller.

        Raises:
            ModelLoadError: The engine failed.
        """

    def executed_precision(self) -> str:
        """What executes, from the engine's runtime graph, never from settings.

        Returns:
            E.g. ``"int8 (20/20 conv, 1/1 linear)"``; ``"unknown"`` where the engine does not say.
        """

    def clone(self) -> Self:
        """The same model for another thread, with buffers of its own; each is closed by itself.

        Raises:
            ModelLoadError: The engine failed.
        """

    def close(self) -> None:
        """Give the memory back; no other method is called afterwards."""


class ExecutedLayer(NamedTuple):
    """One convolution, linear layer or matrix product of an engine's runtime graph.

    Attributes:
        name: Of the model's operator, as far as the engine kept it.
        kind: ``"conv"``, ``"linear"`` or ``"matmul"``.
        precision: What it multiplies, e.g. ``"int8"`` or ``"float32"``.
    """

    name: str
    kind: str
    precision: str


@runtime_checkable
class ListsLayers(Protocol):
    """A backend whose engine says layer by layer what it executes."""

    def executed_layers(self) -> tuple[ExecutedLayer, ...]:
        """Every layer that carries the arithmetic, in execution order."""


@runtime_checkable
class ProfilesLayers(Protocol):
    """A backend whose engine says how long each layer takes."""

    def profile_layers(self, feeds: Mapping[str, Array], runs: int) -> tuple[LayerTime, ...]:
        """Mean wall time per call of every layer that executed, in execution order.

        Args:
            feeds: As :meth:`Backend.infer` takes them.
            runs: Calls, at least 1.
        """


def only_f32(engine: str, float_precision: str) -> None:
    """Refuse another precision than f32 for an engine that cannot be told one.

    Raises:
        UnsupportedError: *float_precision* is something else.
    """
    if float_precision != "f32":
        raise UnsupportedError(
            f"{engine} cannot be told to compute in {float_precision}",
            cure="Use float_precision='f32', or the backend 'openvino'.",
        )


def load_failed(engine: str, error: BaseException) -> EdgecvError:
    """The error for a file that an engine refuses."""
    return ModelLoadError(
        f"{engine} cannot load it: {_reason(error)}",
        cure="Check the file with 'edgecv info', or convert it again.",
    )


def engine_failed(engine: str, error: BaseException) -> EdgecvError:
    """The error for a model that an engine loads and cannot run."""
    return ModelLoadError(
        f"{engine} failed while running the model: {_reason(error)}",
        cure="Try another backend, or convert the model again.",
    )


def _reason(error: BaseException) -> str:
    """The line of an engine's message that says something; C++ traces have several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    informative = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    text = (informative or lines or [type(error).__name__])[0].rstrip(".")
    return text if len(text) <= 300 else text[:299] + "…"


def unique_names(names: Iterable[str]) -> list[str]:
    """Names without repetition; engines allow them, a dictionary does not.

    >>> unique_names(["a", "b", "a", ""])
    ['a', 'b', 'a:1', 'tensor']
    """
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        base = name or "tensor"
        result.append(f"{base}:{seen[base]}" if seen[base] else base)
        seen[base] += 1
    return result


def guess_layout(shape: Sequence[int]) -> str:
    """Layout of a tensor whose file does not say it, where its shape leaves no doubt.

    >>> guess_layout((1, 224, 224, 3)), guess_layout((1, 3, 224, 224)), guess_layout((1, 10))
    ('NHWC', 'NCHW', 'NC')
    >>> guess_layout((1, 3, 5, 3))
    ''
    """
    if len(shape) == 2:
        return "NC"
    if len(shape) != 4:
        return ""
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        return ""
    return "NCHW" if first else "NHWC"


def summarize_precision(layers: Iterable[ExecutedLayer]) -> str:
    """One line about the layers that carry the arithmetic.

    >>> conv, linear = ExecutedLayer("a", "conv", "int8"), ExecutedLayer("b", "linear", "int8")
    >>> summarize_precision([conv] * 20 + [linear])
    'int8 (20/20 conv, 1/1 linear)'
    >>> summarize_precision([conv, conv._replace(precision="float32"), linear])
    'mixed: int8 1/2 conv, 1/1 linear; float32 1/2 conv'
    >>> summarize_precision([])
    'unknown'
    """
    counts = Counter((layer.kind, layer.precision) for layer in layers)
    totals: Counter[str] = Counter()
    for (kind, _), number in counts.items():
        totals[kind] += number
    shares = {
        precision: ", ".join(
            f"{counts[kind, precision]}/{total} {kind}"
            for kind, total in totals.items()
            if counts[kind, precision]
        )
        for precision in dict.fromkeys(precision for _, precision in counts)
    }
    if not shares:
        return "unknown"
    if len(shares) == 1:
        [(precision, share)] = shares.items()
        return f"{precision} ({share})"
    return "mixed: " + "; ".join(f"{precision} {share}" for precision, share in shares.items())
