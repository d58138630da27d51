"""Time of a training step with fake quantizers over the same step without them.

Steps of both models are interleaved and each ratio is taken within one round, so that a machine whose
speed drifts disturbs both alike. Run: ``python benchmarks/qat_step.py --rounds 15``. On CUDA
(``--device cuda``) a step that makes Python wait for the device is an error.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgecv.models import create
from edgecv.quantize import calibrate, freeze, prepare_qat


def wait(device: torch.device) -> None:
    """Let the device finish what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def step_of(model: nn.Module, pictures: Tensor, labels: Tensor) -> Callable[[], float]:
    """A function that does one training step of *model* and returns its seconds."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> float:
        wait(pictures.device)
        start = time.perf_counter()
        if pictures.is_cuda:
            torch.cuda.set_sync_debug_mode("error")
        loss = nn.functional.cross_entropy(model(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if pictures.is_cuda:
            torch.cuda.set_sync_debug_mode("default")
        wait(pictures.device)
        return time.perf_counter() - start

    return step


def main() -> None:
    """Print the median step time of the float model and the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = (options.size, options.size)
    pictures = torch.rand(options.batch, 3, *size, device=options.device)
    labels = torch.randint(0, 10, (options.batch,), device=options.device)
    model = create(options.model, num_classes=10, size=size).module.to(options.device).train()
    tracking, frozen = (prepare_qat(model, input_size=size) for _ in range(2))
    for qat in (tracking, frozen):
        calibrate(qat, [pictures])
    freeze(frozen, ranges=True, batch_norm=False)
    steps = {
        name: step_of(m, pictures, labels)
        for name, m in (("float", model), ("tracking", tracking), ("frozen ranges", frozen))
    }
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            seconds[name].append(step())
    print(f"float: {statistics.median(seconds['float']) * 1e3:.1f} ms")
    for name in list(steps)[1:]:
        ratios = [q / f for q, f in zip(seconds[name], seconds["float"], strict=True)]
        low, high = min(ratios), max(ratios)
        print(f"{name}: {statistics.median(ratios):.3f} of float (range {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
