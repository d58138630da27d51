"""TFLite models of one operator with random tensors and options: ``python random_operators.py FIRST LAST``.

Most contradict themselves, as no converter's file does. For every operator of the table, the seeds FIRST
to LAST are loaded and run in children of this process, which stays at one thread (``forked.py``). The
answer is JSON: ``answers`` and ``errors`` are counts, ``deaths`` the operator and seed of each.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from typing import Any

import forked
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import TFLiteGraph

from edgecv.artifact.tflite_operators import OPERATORS, Rule

#: TensorTypes in random models, with NumPy's of those that may be constant.
F32, I32, U8, I64, BOOL, I16, I8 = 0, 2, 3, 4, 6, 7, 9
DTYPES = {
    F32: "float32",
    I32: "int32",
    U8: "uint8",
    I64: "int64",
    BOOL: "uint8",
    I16: "int16",
    I8: "int8",
}
#: They take the values of an input for places and sizes; which values come is the caller's business.
BY_VALUE = {"BROADCAST_ARGS", "CALL", "CONCAT_EMBEDDINGS", "CUSTOM", "DELEGATE", "PLACEHOLDER"}
BY_VALUE |= {f"UNSORTED_SEGMENT_{kind}" for kind in ("MAX", "MIN", "PROD", "SUM")}
SMALL = (0, 1, 1, 2, -1, 3)
LARGE = (4, 8, 100, -2, -100, 2**31 - 1)


def model(code: int, seed: int) -> bytes:
    """A model of operator *code*; the same bytes for the same seed."""
    rng = random.Random(1000 * seed + code)
    net, rule = TFLiteGraph(), OPERATORS[code]
    base = [rng.choice((1, 2, 3, 4, 4, 8)) for _ in range(rng.choice((1, 2, 3, 4, 4, 4, 5)))]
    dtype = rng.choice((F32, F32, F32, I8, I8, U8, I32, I64, BOOL, I16))
    scaled = rng.random() < 0.85
    fewest, most = rule.inputs
    inputs = []
    for position in range(rng.randint(fewest, min(most, fewest + 3))):
        if position >= rule.optional and rng.random() < 0.3:
            inputs.append(-1)
        else:
            inputs.append(_input(net, rng, position, base, dtype, scaled))
    fewest, most = rule.outputs
    outputs = []
    for _ in range(rng.randint(fewest, min(most, fewest + 2))):
        made = dtype if rng.random() < 0.8 else rng.choice((F32, I32, I8, U8))
        outputs.append(_tensor(net, rng, () if rng.random() < 0.5 else base, made, False, scaled))
    options = _options(rng, rule, len(inputs), len(outputs))
    net.op(code, rng.choice((1, 1, 1, 1, 2, 3)), rule.options, options, inputs, outputs)
    open_inputs = [
        at for at in dict.fromkeys(inputs) if at >= 0 and not net.graph.tensors[at].buffer
    ]
    return net.pack(open_inputs, outputs)


def _input(
    net: TFLiteGraph, rng: random.Random, position: int, base: list[int], dtype: int, scaled: bool
) -> int:
    """Something like the first input, or like its axes, sizes, weights or paddings."""
    kind = rng.random() if position else 1.0
    rank = len(base)
    if kind < 0.35:
        shape = [rng.choice((1, 2, 3, 4, rank, 2 * rank))] if rng.random() < 0.8 else []
        return _tensor(
            net, rng, shape, rng.choice((I32, I32, I32, I64)), rng.random() < 0.8, scaled
        )
    if kind < 0.5:
        shape = [rng.choice((1, 2, 3, 4, 8)) for _ in range(rng.randrange(5))]
        other = rng.choice((dtype, F32, I8, I32))
        return _tensor(net, rng, shape, other, rng.random() < 0.6, scaled)
    if kind < 0.6:
        return _tensor(net, rng, [rank, 2], I32, True, scaled)
    shape = base if rng.random() < 0.7 else [rng.choice((1, size)) for size in base]
    return _tensor(net, rng, shape, dtype, position > 0 and rng.random() < 0.4, scaled)


def _tensor(
    net: TFLiteGraph, rng: random.Random, shape: Any, dtype: int, constant: bool, scaled: bool
) -> int:
    scale = zero_point = data = None
    if scaled and dtype in (U8, I16, I8):
        scale = rng.choice((0.5, 0.01, 1e-3, 1 / 256, 1 / 128, 3.0))
        zero_point = 0 if dtype == I16 or rng.random() < 0.6 else {U8: 128, I8: -128}[dtype]
    if constant:
        values = (*SMALL, *LARGE) if rng.random() < 0.3 else SMALL
        count = int(np.prod(shape, dtype=int))
        drawn = np.array([rng.choice(values) for _ in range(count)], np.int64)
        data = drawn.astype(DTYPES[dtype]).reshape(shape)
    return net.tensor(f"t{len(net.graph.tensors)}", tuple(shape), dtype, data, scale, zero_point)


def _options(rng: random.Random, rule: Rule, inputs: int, outputs: int) -> Any:
    if not rule.options:
        return None
    names = {
        number: name
        for name, number in vars(schema.BuiltinOptions).items()
        if isinstance(number, int)
    }
    made = getattr(schema, f"{names[rule.options]}T")()
    for name, default in vars(made).items():
        if name in ("numSplits", "num") and rng.random() < 0.8:
            value: Any = outputs
        elif name == "valuesCount" and rng.random() < 0.8:
            value = inputs
        elif name.endswith("SubgraphIndex"):
            value = rng.choice((0, 1))
        elif name in ("newShape", "squeezeDims", "boundaries"):
            value = [rng.choice((0, 1, 2, -1, 3, 4)) for _ in range(rng.randrange(4))]
        elif isinstance(default, bool):
            value = rng.random() < 0.5
        elif isinstance(default, float):
            value = rng.choice((0.0, 1.0, 0.5, -1.0, 1e30))
        elif isinstance(default, int):
            value = _number(rng, name)
        else:
            value = default
        setattr(made, name, value)
    return made


def _number(rng: random.Random, name: str) -> int:
    if name == "fusedActivationFunction":
        return rng.randrange(6)
    if any(part in name for part in ("stride", "ilation", "filter")):
        return rng.choice((1, 1, 2, 3))
    if name in ("padding", "mode", "weightsFormat", "kernelType"):
        return rng.randrange(2)
    return rng.choice((0, 2, 4, 9) if "ype" in name else (0, 1, 1, 2, 3, -1, 4))


def main() -> None:
    seeds = range(int(sys.argv[1]), int(sys.argv[2]))
    forked.warm("litert", "tflite")
    counts: Counter[str] = Counter()
    deaths = []
    for code, rule in enumerate(OPERATORS):
        if rule.name in BY_VALUE:
            continue
        sources = [model(code, seed) for seed in seeds]
        ends = forked.all_in_child(sources, "litert")
        if ends is None:  # one of them killed it; which?
            ends = [forked.in_child(source, "litert")["end"] for source in sources]
        counts.update(ends)
        dead = zip(seeds, ends, strict=True)
        deaths += [
            f"{rule.name} {seed}: {end}" for seed, end in dead if end not in ("answer", "error")
        ]
    json.dump(
        {"answers": counts["answer"], "errors": counts["error"], "deaths": deaths}, sys.stdout
    )


if __name__ == "__main__":
    main()
