"""The drift monitor that a pipeline may carry: anything of this shape, e.g. ``edgecv.drift.Monitor``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgecv.artifact.manifest import Manifest
from edgecv.errors import ModelLoadError

if TYPE_CHECKING:
    from edgecv.drift.shadow import Shadow

__all__ = [
    "FIELDS",
    "PARTED",
    "DriftMonitor",
    "drift_json",
    "monitor_of",
    "shadow_of",
    "shipped_monitor",
]

#: The alarm of int8 and float that agree less than they used to.
PARTED: Final = "int8 and float agree on fewer frames than on the reference pictures"

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
    """The monitor for a file that carries a drift profile; None where there is none.

    Raises:
        ModelLoadError: The profile is damaged, or another model's.
    """
    if manifest is None or manifest.drift_profile is None:
        return None
    made_for = manifest.drift_profile.get("identity")
    if made_for != manifest.identity:
        # thresholds and estimator would be another model's, and look right
        raise ModelLoadError(
            f"its drift profile was made for another model ({str(made_for)[:19]}…, this is"
            f" {manifest.identity[:19]}…)",
            cure="Make it anew: edgecv drift profile MODEL --data REF --overwrite",
        )
    return _monitor(manifest.drift_profile)


def shadow_of(manifest: Manifest | None, every: int) -> Shadow:
    """Watches int8 against float; with an alarm where the drift profile knows how often they usually agree.

    Args:
        manifest: Of the int8 file.
        every: One frame of so many is compared.

    Raises:
        ModelLoadError: The profile is damaged.
    """
    from edgecv.drift.shadow import Shadow, usual_agreement

    profile = None if manifest is None else manifest.drift_profile
    return Shadow(every, None if profile is None else usual_agreement(profile))


def shipped_monitor() -> DriftMonitor:
    """The monitor for the model that ships with edgecv.

    Raises:
        ModelLoadError: Its profile is missing or damaged.
    """
    from edgecv.camera.shipped import shipped_profile

    return _monitor(shipped_profile())


def _monitor(profile: Mapping[str, Any]) -> DriftMonitor:
    # nothing of it is imported until a file has a profile
    from edgecv.drift import Monitor

    return Monitor(profile)


def drift_json(monitor: DriftMonitor | None) -> dict[str, Any] | None:
    """The fields of a summary; None without a monitor."""
    if monitor is None:
        return None
    state = monitor.state
    return {name: state.get(name) for name in FIELDS}
