"""What a graph pass is: a function from graph to graph whose conditions are checked before and after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgecv.errors import EdgecvError
from edgecv_converters.ir import Graph

if TYPE_CHECKING:
    from edgecv_converters.tflite.rules import Registry

__all__ = ["BrokenPassError", "Pass", "PassContext", "run"]


class BrokenPassError(EdgecvError):
    """A pass met or left a graph that its conditions exclude: a fault of the converter, not of the model."""

    exit_code = 1


@dataclass(frozen=True)
class PassContext:
    """What passes may ask of the target.

    Attributes:
        rules: Rules of the target by operator.
    """

    rules: Registry


class Pass(ABC):
    """One rewriting step. Subclasses say what they do in their docstring's first line."""

    #: Short name, shown in errors.
    name: ClassVar[str]

    @abstractmethod
    def rewrite(self, graph: Graph, context: PassContext) -> Graph:
        """Return the rewritten graph (or *graph* itself); raise an EdgecvError for what is refused."""

    def precondition(self, graph: Graph) -> str | None:
        """What is wrong with the graph that comes in, or None."""
        return None

    def postcondition(self, graph: Graph) -> str | None:
        """What is wrong with the graph that goes out, or None."""
        return None

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Check, rewrite, check.

        Raises:
            BrokenPassError: A condition does not hold.
        """
        self._hold("before", self.precondition(graph))
        result = self.rewrite(graph, context)
        self._hold("after", _dangling(result) or self.postcondition(result))
        return result

    def _hold(self, when: str, complaint: str | None) -> None:
        if complaint:
            raise BrokenPassError(
                f"{when} the pass {self.name!r}: {complaint}",
                cure="This is a fault of the converter; please report it with the ONNX file.",
            )


def run(pipeline: tuple[Pass, ...], graph: Graph, context: PassContext) -> Graph:
    """Run the passes of *pipeline* in order."""
    for step in pipeline:
        graph = step(graph, context)
    return graph


def _dangling(graph: Graph) -> str | None:
    """Every name is defined, once, before it is read: holds after any pass."""
    known = {*graph.constants, *graph.inputs}
    for node in graph.nodes:
        for name in node.inputs:
            if name and name not in known:
                return f"{node.name!r} reads {name!r}, which nothing before it defines"
        for name in filter(None, node.outputs):
            if name in known:
                return f"{name!r} is defined twice"
            if name not in graph.values:
                return f"{name!r} has no value record"
            known.add(name)
    lost = [name for name in graph.outputs if name not in known]
    return f"nothing produces the outputs {lost}" if lost else None
