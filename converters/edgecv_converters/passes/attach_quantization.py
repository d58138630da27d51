"""QuantizeLinear/DequantizeLinear pairs become parameters of the values they surround."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.spec.types import QuantParams
from edgecv_converters.ir import Graph, Node, Value
from edgecv_converters.passes.base import Pass, PassContext
from edgecv_converters.passes.quantized_constants import parameters_of, rounded_constant

__all__ = ["AttachQuantization", "quantizer_name"]


def quantizer_name(tensor: str) -> str:
    """Name of a quantizer: the tensor that QuantizeLinear reads, without a trailing ``/float``.

    >>> quantizer_name("layer1.0.act1/float"), quantizer_name("input")
    ('layer1.0.act1', 'input')
    """
    return tensor.removesuffix("/float") or tensor


class AttachQuantization(Pass):
    """Give every quantized activation its int8 parameters; keep a QuantizeLinear only where it rounds again."""

    name: ClassVar[str] = "attach-quantization"

    def precondition(self, graph: Graph) -> str | None:
        """Constants were absorbed before."""
        return rounded_constant(graph)

    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Walk the graph once, renaming a tensor and its Q and DQ outputs to one name."""
        walk = _Walk(graph)
        for node in graph.nodes:
            if node.domain == "" and node.op == "QuantizeLinear":
                walk.quantize(node)
            elif node.domain == "" and node.op == "DequantizeLinear":
                walk.dequantize(node)
            else:
                walk.nodes.append(node)
        return walk.finish()

    def postcondition(self, graph: Graph) -> str | None:
        """No DequantizeLinear; what a QuantizeLinear writes is quantized."""
        for node in graph.nodes:
            if node.op == "DequantizeLinear" and not node.domain:
                return f"{node.name!r} is still there"
            if (
                node.op == "QuantizeLinear"
                and not node.domain
                and graph.values[node.outputs[0]].quant is None
            ):
                return f"{node.name!r} writes a value without parameters"
        return None


@dataclass
class _Walk:
    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    quantized: dict[str, Value] = field(default_factory=dict)
    #: (name of the scale, name of the zero point) → first tensor that uses them: the owner
    owners: dict[tuple[str, ...], str] = field(default_factory=dict)

    def quantize(self, node: Node) -> None:
        params = _activation_params(node, self.graph)
        source, result = node.inputs[0], node.outputs[0]
        before = self.quantized.get(self.renamed.get(source, source))
        if before is not None and before.quant == params:
            # the same integers again
            self.renamed[result] = before.name
            return
        name = self._name(node)
        if before is None and self._is_absorbable(source, params):
            self.renamed[source] = name
        else:
            name = name if name != source and before is None else result
            self.nodes.append(replace(node, outputs=(name,)))
        self.renamed[result] = name
        owner = self.owners.setdefault(node.inputs[1:3], self._quantizer(node, name))
        self.quantized[name] = Value(
            name, self.graph.values[source].shape, "float32", params, owner
        )

    def dequantize(self, node: Node) -> None:
        params = _activation_params(node, self.graph)
        source = node.inputs[0]
        name = self.renamed.get(source, source)
        for given in self._given(source) if name not in self.quantized else ():
            shape = self.graph.values[given].shape
            self.quantized[given] = Value(given, shape, "float32", params, given)
        known = self.quantized.get(name)
        if known is None or known.quant != params:
            raise UnsupportedError(
                f"DequantizeLinear {node.name!r} reads {source!r} with parameters that no QuantizeLinear gave it",
                cure="Put a QuantizeLinear with the same scale and zero point directly before it.",
            )
        self.renamed[node.outputs[0]] = name

    def _given(self, name: str) -> tuple[str, ...]:
        """A graph input and what lies between it and integer tensor *name*; empty where that is computed."""
        chain = [name]
        while (node := self.graph.producers.get(chain[-1])) is not None:
            if node.op != "Transpose" or node.domain:
                return ()
            chain.append(node.inputs[0])
        return tuple(reversed(chain)) if chain[-1] in self.graph.inputs else ()

    def finish(self) -> Graph:
        def new(name: str) -> str:
            return self.renamed.get(name, name)

        nodes = [
            replace(n, inputs=tuple(map(new, n.inputs)), outputs=tuple(map(new, n.outputs)))
            for n in self.nodes
        ]
        outputs = tuple(map(new, self.graph.outputs))
        if len(set(outputs)) != len(outputs):
            raise UnsupportedError(
                f"the outputs {list(self.graph.outputs)} are the same quantized tensor",
                cure="Keep one of them.",
            )
        graph = replace(self.graph, inputs=tuple(map(new, self.graph.inputs)))
        return graph.rewired(nodes, values={**self.graph.values, **self.quantized}, outputs=outputs)

    def _is_absorbable(self, source: str, params: QuantParams) -> bool:
        """Whether nobody sees the tensor before it is rounded."""
        if source in self.graph.outputs:
            return False
        readers = self.graph.consumers[source]
        return all(
            n.op == "QuantizeLinear"
            and n.domain == ""
            and _activation_params(n, self.graph) == params
            for n in readers
        )

    def _quantizer(self, node: Node, name: str) -> str:
        """The quantizer's name, which a graph output keeps although its tensor has the output's name."""
        return quantizer_name(node.inputs[0]) if name in self.graph.outputs else name

    def _name(self, node: Node) -> str:
        """Name of the quantized tensor: the graph output's where it is one, else the quantizer's."""
        source, short = node.inputs[0], quantizer_name(node.inputs[0])
        readers = self.graph.consumers.get(node.outputs[0], ())
        ours = {
            source,
            node.outputs[0],
            *(n.outputs[0] for n in readers if n.op == "DequantizeLinear" and not n.domain),
        }
        for name in self.graph.outputs:
            if name in ours and name != source:
                return name
        taken = (
            short in self.graph.values or short in self.graph.constants or short in self.quantized
        )
        return source if taken and short not in ours else short


def _activation_params(node: Node, graph: Graph) -> QuantParams:
    scales, zeros, dtype = parameters_of(node, graph.constants)
    if dtype not in ("int8", "uint8") or scales.size != 1:
        raise UnsupportedError(
            f"{node.op} {node.name!r} quantizes an activation to {dtype} with {scales.size} scales",
            cure="Activations are int8 or uint8, per tensor.",
        )
    try:
        return QuantParams(float(scales[0]), int(zeros[0]), dtype).as_dtype("int8")
    except InputError as error:
        raise ModelLoadError(f"{node.op} {node.name!r}: {error.what}", cure=error.cure) from error
