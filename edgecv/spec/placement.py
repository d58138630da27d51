"""From a graph of canonical operators to its quantizers: one algorithm for both annotators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgecv.errors import UnsupportedError
from edgecv.spec.table import OP_TABLE, OpRule, Output
from edgecv.spec.types import QuantParams

__all__ = ["OpNode", "Placement", "Quantizer", "place"]


@dataclass(frozen=True)
class OpNode:
    """One operator as the spec sees it.

    Attributes:
        output: Name of the tensor it produces; after the module path that produces it, never a
            counter.
        kind: Key of :data:`~edgecv.spec.table.OP_TABLE`.
        inputs: Names of its activation inputs (weights and biases are not listed).
        weight: Name of the weight, for weighted kinds.
    """

    output: str
    kind: str
    inputs: tuple[str, ...] = ()
    weight: str = ""


@dataclass(frozen=True)
class Quantizer:
    """One activation quantizer.

    Attributes:
        name: Name of the tensor that owns it.
        bits: Width of its grid; 8 for fixed ones.
        symmetric: Zero point 0.
        fixed: Parameters that are never learned, or None.
        tensors: Names of the tensors whose values set its range; several where inputs of a
            concatenation share it.
    """

    name: str
    bits: int = 8
    symmetric: bool = False
    fixed: QuantParams | None = None
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where the quantizers are.

    Attributes:
        quantizers: name → quantizer, in graph order.
        tensors: name of every quantized tensor → name of the quantizer it carries.
        weights: Names of the weights, symmetric per output channel.
        bits: Width of weights and learned activations.
    """

    quantizers: dict[str, Quantizer]
    tensors: dict[str, str]
    weights: tuple[str, ...]
    bits: int = 8


@dataclass
class _Walk:
    """State of one walk: tensors already given a quantizer, and tails already absorbed."""

    tensors: dict[str, str] = field(default_factory=dict)
    quantizers: dict[str, Quantizer] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)


def place(nodes: Sequence[OpNode], *, bits: int = 8) -> Placement:
    """Decide the quantizers of *nodes* (topological order) by the table.

    Args:
        nodes: The graph; tensor names are unique.
        bits: Width of weights and of activations that are not fixed, 2 to 8. Inputs stay at 8 bits.

    Raises:
        UnsupportedError: Kinds without a rule (all are listed), or a duplicate tensor name.

    >>> graph = [OpNode("input", "input"), OpNode("conv1", "conv", ("input",), "conv1.weight"),
    ...          OpNode("bn1", "batch_norm", ("conv1",)), OpNode("act1", "relu", ("bn1",)),
    ...          OpNode("pool", "max_pool", ("act1",))]
    >>> place(graph).tensors
    {'input': 'input', 'act1': 'act1', 'pool': 'act1'}
    """
    _check(nodes)
    consumers: dict[str, list[OpNode]] = {}
    for node in nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)
    walk = _Walk()
    for node in nodes:
        if node.output in walk.absorbed:
            continue
        rule = OP_TABLE[node.kind]
        tail = _absorb(node, rule, consumers, walk)
        if rule.output is Output.OF_INPUT:
            walk.tensors[tail] = walk.tensors[node.inputs[0]]
        elif rule.output is Output.SHARED:
            _share([walk.tensors[i] for i in node.inputs], walk)
            walk.tensors[tail] = walk.tensors[node.inputs[0]]
        else:
            fixed = rule.fixed if rule.output is Output.FIXED else None
            walk.tensors[tail] = tail
            walk.quantizers[tail] = Quantizer(
                tail, 8 if fixed else bits, fixed=fixed, tensors=(tail,)
            )
    _make_symmetric(nodes, walk)
    used = set(walk.tensors.values())
    return Placement(
        {name: q for name, q in walk.quantizers.items() if name in used},
        dict(walk.tensors),
        tuple(node.weight for node in nodes if OP_TABLE[node.kind].weighted),
        bits,
    )


def _check(nodes: Sequence[OpNode]) -> None:
    unknown = [f"{node.kind} ({node.output})" for node in nodes if node.kind not in OP_TABLE]
    if unknown:
        raise UnsupportedError(
            f"no quantization rule for {', '.join(unknown)}",
            cure=f"Known kinds: {', '.join(OP_TABLE)}.",
        )
    seen: set[str] = set()
    for node in nodes:
        if node.output in seen:
            raise UnsupportedError(
                f"two operators produce a tensor named {node.output!r}",
                cure="Make tensor names unique.",
            )
        seen.add(node.output)


def _absorb(node: OpNode, rule: OpRule, consumers: dict[str, list[OpNode]], walk: _Walk) -> str:
    """Name of the tensor behind the tail that *node* absorbs."""
    tail, kinds = node.output, rule.absorbs
    while len(uses := consumers.get(tail, [])) == 1 and uses[0].kind in kinds:
        kind = uses[0].kind
        # relu and relu6 exclude each other; batch_norm may only come first
        kinds = () if kind.startswith("relu") else kinds[kinds.index(kind) + 1 :]
        tail = uses[0].output
        walk.absorbed.add(tail)
    return tail


def _share(names: list[str], walk: _Walk) -> None:
    """Merge quantizers into the first; a fixed one wins because its parameters cannot change."""
    keep = next((n for n in names if walk.quantizers[n].fixed), names[0])
    sources = [t for name in dict.fromkeys(names) for t in walk.quantizers[name].tensors]
    walk.quantizers[keep] = replace(walk.quantizers[keep], tensors=tuple(dict.fromkeys(sources)))
    for tensor, quantizer in walk.tensors.items():
        if quantizer in names:
            walk.tensors[tensor] = keep


def _make_symmetric(nodes: Sequence[OpNode], walk: _Walk) -> None:
    """Zero point 0 for what the operands of a matmul carry."""
    for node in nodes:
        for position in OP_TABLE[node.kind].symmetric_inputs:
            owner = walk.quantizers[walk.tensors[node.inputs[position]]]
            if owner.fixed is None:
                walk.quantizers[owner.name] = replace(owner, symmetric=True)
