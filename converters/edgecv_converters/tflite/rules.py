"""Lowering rules and their registry, keyed by (domain, operator, since_version)."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from edgecv_converters.ir import Graph, Node

if TYPE_CHECKING:
    from edgecv_converters.tflite.lowering import Lowering

__all__ = ["Registry", "Rule", "default_registry"]

Key = tuple[str, str, int]


class Rule(ABC):
    """How one operator becomes TFLite operators. A subclass without state; one family per file.

    Attributes:
        op: ONNX operator type.
        versions: since_version of every definition that the rule was read against.
        domain: "" for ONNX's own.
        nearest: The nearest form that is supported, for error messages.
        verified: Which dtypes are held against ONNX Runtime, and by which test file.
        kernel: Where the kernel's conditions were read.
        fuses_clamp: Whether a following Relu or Clip may run inside the lowered operator
            (:meth:`takes_clamp`, where that depends on the node).
    """

    op: ClassVar[str]
    versions: ClassVar[tuple[int, ...]]
    domain: ClassVar[str] = ""
    nearest: ClassVar[str]
    verified: ClassVar[dict[str, str]]
    kernel: ClassVar[str]
    fuses_clamp: ClassVar[bool] = False

    @abstractmethod
    def why_not(self, graph: Graph, node: Node) -> str | None:
        """Why the rule does not apply to *node* (with the offending value), or None when it does."""

    @abstractmethod
    def lower(self, low: Lowering, node: Node) -> None:
        """Plan the operators that compute *node*'s outputs."""

    def takes_clamp(self, graph: Graph, node: Node) -> bool:
        """Whether a Relu or Clip behind *node* may become its clamp."""
        return self.fuses_clamp

    @property
    def name(self) -> str:
        """Where to find it: ``<file>.<class>``."""
        return f"{type(self).__module__.rpartition('.')[2]}.{type(self).__name__}"


class Registry:
    """Rules by key.

    >>> Registry().find(Node("n", "Conv", "", 11, (), ())) is None
    True
    """

    def __init__(self) -> None:
        self._rules: dict[Key, Rule] = {}

    def add(self, rule: Rule) -> None:
        """Register *rule* for each of its versions.

        Raises:
            ValueError: There is a rule for one of them already.
        """
        for version in rule.versions:
            key = (rule.domain, rule.op, version)
            if key in self._rules:
                raise ValueError(f"two rules for {key}: {self._rules[key].name} and {rule.name}")
            self._rules[key] = rule

    def find(self, node: Node) -> Rule | None:
        """The rule for exactly the definition that *node* was written against, or None."""
        return self._rules.get(node.key)

    def __iter__(self) -> Iterator[tuple[Key, Rule]]:
        return iter(sorted(self._rules.items()))

    def explain_missing(self, node: Node) -> str:
        """Why :meth:`find` returns None, for an error message."""
        versions = [v for (domain, op, v) in self._rules if (domain, op) == (node.domain, node.op)]
        if versions:
            return f"no rule for the definition of version {node.version}; there are rules for {sorted(versions)}"
        domain = f"{node.domain}::" if node.domain else ""
        known = sorted({op for (d, op, _) in self._rules if not d})
        similar = get_close_matches(node.op, known, cutoff=0.75)
        nearest = f"; nearest: {', '.join(similar)}" if similar else ""
        return f"no rule for {domain}{node.op}{nearest}"


@cache
def default_registry() -> Registry:
    """All rules of :mod:`edgecv_converters.tflite.ops`: every file there lists its own in ``RULES``.

    A file that is added to that folder is found by itself.
    """
    from edgecv_converters.tflite import ops

    registry = Registry()
    for module in sorted(info.name for info in pkgutil.iter_modules(ops.__path__)):
        for rule in importlib.import_module(f"{ops.__name__}.{module}").RULES:
            registry.add(rule)
    return registry
