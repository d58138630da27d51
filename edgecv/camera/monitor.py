"""The drift monitor that a pipeline may carry: anything of this shape, e.g. ``edgecv.drift.Monitor``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Manifest

__all__ = ["FIELDS", "DriftMonitor", "drift_json", "monitor_of", "shipped_monitor"]

#: What a summary says of drift.
FIELDS: Final = (
    "estimated_top1",
    "interval",
    "reference_top1",
    "effective_samples",
    "inside_calibrated_range",
    "causes",
    "alarms",
)


class DriftMonitor(Protocol):
    """Watches a stream without labels."""

    @property
    def state(self) -> Mapping[str, Any]:
        """JSON-ready, with at least :data:`FIELDS`."""
        ...

    def observe(
        self, scores: npt.NDArray[np.float32], frame: npt.NDArray[np.uint8], at_s: float
    ) -> object | None:
        """Look at one answered frame.

        Args:
            scores: Probabilities of all classes, float32 [C].
            frame: RGB, uint8 [H, W, 3].
            at_s: When it came, on the monotonic clock.

        Returns:
            A report at the end of a window, else None.
        """
        ...


def monitor_of(manifest: Manifest | None) -> DriftMonitor | None:
    """The monitor for a file that carries a drift profile; None where there is none."""
    return _monitor(None if manifest is None else manifest.drift_profile)


def shipped_monitor() -> DriftMonitor | None:
    """The monitor for the model that ships with edgecv.

    Raises:
        ModelLoadError: Its profile is missing or damaged.
    """
    from edgecv.camera.shipped import shipped_profile

    return _monitor(shipped_profile())


def _monitor(profile: Mapping[str, Any] | None) -> DriftMonitor | None:
    if profile is None:
        return None
    # nothing of it is imported until a file has a profile
    from edgecv.drift import Monitor

    return Monitor(profile)


def drift_json(monitor: DriftMonitor | None) -> dict[str, Any] | None:
    """The fields of a summary; None without a monitor."""
    if monitor is None:
        return None
    state = monitor.state
    return {name: state.get(name) for name in FIELDS}
