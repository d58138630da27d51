"""Quantizers that a target may leave out because its engine is faster, and no less exact, without them.

Groups, found by pattern so that anybody's QDQ file has them:

``inside_silu``
    What lies between a layer and the product in x * sigmoid(x): the quantizer of x, where nobody else
    reads it, and that of the sigmoid. OpenVINO then fuses the activation into the layer.
``inside_gelu``
    What lies inside x * 0.5 * (1 + Erf(x / sqrt(2))). Engines then have one kernel, or one table, for it;
    TFLite has no Erf at all.
``before_softmax``
    The quantizer of what only a Softmax reads. Both engines compute Softmax faster in float.

A target never changes or adds a quantizer; those left out are listed in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple

from edgecv.errors import UnsupportedError
from edgecv_converters.inlining import captured
from edgecv_converters.reader import parse

__all__ = ["GROUPS", "leave_out"]


class _Pair(NamedTuple):
    """A QuantizeLinear and the DequantizeLinear behind it."""

    quantize: Any
    dequantize: Any

    @property
    def name(self) -> str:
        """Name of the quantizer, as manifests have it."""
        return str(self.quantize.input[0]).removesuffix("/float")


def _is(node: Any, op: str) -> bool:
    """Whether *node* is ONNX's own operator *op*, with an input."""
    return node.op_type == op and node.domain in ("", "ai.onnx") and len(node.input) > 0


class _Graph:
    """Who writes and who reads each tensor."""

    def __init__(self, graph: Any) -> None:
        self.nodes = list(graph.node)
        self.producers = {out: node for node in self.nodes for out in node.output}
        self.readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        self.outputs = {o.name for o in graph.output}
        self.constants = {tensor.name for tensor in graph.initializer}
        for node in self.nodes:
            rounds = _is(node, "QuantizeLinear") or _is(node, "DequantizeLinear")
            if node.op_type == "Constant" or (rounds and node.input[0] in self.constants):
                self.constants.update(node.output)

    def pair_before(self, tensor: str, readers: Collection[str]) -> _Pair | None:
        """The pair that makes *tensor*, if only operators of the types *readers* read it."""
        found = self.readers.get(tensor, [])
        if sorted(n.op_type for n in found) != sorted(readers) or tensor in self.outputs:
            return None
        dequantize = self.producers.get(tensor)
        if dequantize is None or not _is(dequantize, "DequantizeLinear"):
            return None
        quantize = self.producers.get(dequantize.input[0])
        if quantize is None or not _is(quantize, "QuantizeLinear"):
            return None
        between = (quantize.input[0], quantize.output[0])
        if quantize.input[0] not in self.producers or any(n in self.outputs for n in between):
            return None
        alone = all(len(self.readers.get(name, [])) == 1 for name in between)
        return _Pair(quantize, dequantize) if alone else None

    def through(self, tensor: str, reader: str) -> tuple[Any | None, _Pair | None]:
        """What computes *tensor*, which one operator of type *reader* alone reads, and the pair in between."""
        pair = self.pair_before(tensor, [reader])
        if pair is None and (len(self.readers.get(tensor, [])) != 1 or tensor in self.outputs):
            return None, None
        return self.producers.get(pair.quantize.input[0] if pair else tensor), pair

    def origin(self, tensor: str) -> str:
        """The tensor before it was rounded: readers may have a pair of their own each."""
        for op in ("DequantizeLinear", "QuantizeLinear"):
            node = self.producers.get(tensor)
            if node is None or not _is(node, op):
                break
            tensor = node.input[0]
        return tensor


def _inside_silu(graph: _Graph) -> Iterator[_Pair]:
    for node in graph.nodes:
        if not _is(node, "Mul") or len(node.input) != 2:
            continue
        for x, gate in (tuple(node.input), tuple(node.input)[::-1]):
            pair = graph.pair_before(gate, ["Mul"])
            if pair is None:
                continue
            sigmoid = graph.producers[pair.quantize.input[0]]
            if not _is(sigmoid, "Sigmoid") or sigmoid.input[0] != x:
                continue
            yield pair
            own = graph.pair_before(x, ["Mul", "Sigmoid"])
            if own is not None:
                yield own


def _inside_gelu(graph: _Graph) -> Iterator[_Pair]:
    for node in graph.nodes:
        if not _is(node, "Mul"):
            continue
        factors, pairs = _factors(graph, node)
        computed = [name for name in factors if name not in graph.constants]
        if (len(factors), len(computed)) != (3, 2):
            continue
        for x, shifted in (computed, computed[::-1]):
            inside = _shifted_erf(graph, shifted, x)
            if inside is not None:
                yield from (*pairs, *inside)


def _factors(graph: _Graph, node: Any) -> tuple[list[str], list[_Pair]]:
    """What a Mul multiplies, those of a Mul right before it included; the pairs in between."""
    factors: list[str] = []
    pairs: list[_Pair] = []
    for name in node.input:
        inner, pair = graph.through(name, "Mul")
        if inner is not None and _is(inner, "Mul"):
            factors += inner.input
            pairs += [pair] if pair else []
        else:
            factors.append(name)
    return factors, pairs


def _shifted_erf(graph: _Graph, name: str, x: str) -> list[_Pair] | None:
    """Pairs from *name* to *x*, if *name* is 1 + Erf(x / sqrt(2)), whatever the numbers are."""
    pairs = []
    for ops, reader in ((("Add",), "Mul"), (("Erf",), "Add"), (("Div", "Mul"), "Erf")):
        node, pair = graph.through(name, reader)
        if node is None or not any(_is(node, op) for op in ops):
            return None
        pairs += [pair] if pair else []
        computed = [n for n in node.input if n not in graph.constants]
        if len(computed) != 1:
            return None
        name = computed[0]
    return pairs if graph.origin(name) == graph.origin(x) else None


def _before_softmax(graph: _Graph) -> Iterator[_Pair]:
    for node in graph.nodes:
        pair = graph.pair_before(node.input[0], ["Softmax"]) if _is(node, "Softmax") else None
        if pair is not None:
            yield pair


#: Name of a group → where its pairs are.
GROUPS: Final[dict[str, Callable[[_Graph], Iterator[_Pair]]]] = {
    "inside_silu": _inside_silu,
    "inside_gelu": _inside_gelu,
    "before_softmax": _before_softmax,
}


def leave_out(
    source: bytes, groups: Collection[str], *, only: Collection[str] | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """A QDQ ONNX file without the quantizers of *groups*.

    Args:
        source: The file.
        groups: Keys of :data:`GROUPS`.
        only: Names of quantizers; others stay. None takes all.

    Returns:
        The file, unchanged bytes when there is nothing to leave out, and the names of the quantizers
        that it lacks, in graph order.

    Raises:
        UnsupportedError: An unknown group.
        ModelLoadError: Not an ONNX file.
    """
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        raise UnsupportedError(
            f"unknown group of quantizers {unknown[0]!r}", cure=f"Groups: {', '.join(GROUPS)}."
        )
    if not groups:
        return source, ()
    model = parse(source)
    graph = _Graph(model.graph)
    pairs = {pair.name: pair for group in groups for pair in GROUPS[group](graph)}
    chosen = [p for name, p in pairs.items() if only is None or name in only]
    if not chosen:
        return source, ()
    renamed = {pair.dequantize.output[0]: pair.quantize.input[0] for pair in chosen}
    gone = {id(node) for pair in chosen for node in pair}
    order = [p.name for node in graph.nodes for p in chosen if node is p.quantize]
    kept = [
        type(node).FromString(node.SerializeToString())
        for node in graph.nodes
        if id(node) not in gone
    ]
    for node in kept:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    _drop_unread(model.graph)
    return bytes(model.SerializeToString()), tuple(order)


def _drop_unread(graph: Any) -> None:
    """Remove initializers that nothing reads any longer."""
    read = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    read |= captured(graph)
    kept = [t for t in graph.initializer if t.name in read]
    copies = [type(t).FromString(t.SerializeToString()) for t in kept]
    del graph.initializer[:]
    graph.initializer.extend(copies)
