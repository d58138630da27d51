"""Shadow mode: the float model on some of the frames says what quantization costs in the field, without labels."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edgecv.drift.correlation import Thinner
from edgecv.errors import InputError, ModelLoadError
from edgecv.stats.estimate import Estimate, normal_quantile
from edgecv.stats.fisher import fisher_upper
from edgecv.stats.rates import wilson

__all__ = ["Shadow", "usual_agreement"]

#: Confidences are sums; their correlation is judged on the latest of so many frames.
_REMEMBERED: Final = 512
#: Compared frames that are judged together.
_WINDOW: Final = 200
#: Chance of an alarm of one window where nothing is wrong, as of a monitor; and where one ends.
_LEVEL: Final = 1e-3
_CALM: Final = 0.05


class Shadow:
    """int8 against float on the same frames.

    Both answers being right cannot be seen without labels. What can: how often they agree, and how the
    calibrated confidence of the two differs, which bounds what the difference of their accuracies can be:
    |difference| <= share of disagreements.

    With what both agreed on over reference pictures it also says when they part: quantization that costs
    nothing on pictures like those of the training may cost something in the dark.

    Args:
        every: One frame of so many is also given to the float model.
        usual: Agreement on the reference pictures (:func:`usual_agreement` of a drift profile); None: no alarm.

    Attributes:
        frames: Compared so far.
        apart: Whether both agreed on fewer of the last 200 compared frames than on the reference pictures, judged
            once per 200 (Fisher's exact test, chance of a false alarm 1 in 1,000 at most); it ends when the latest
            600 are usual again.

    >>> shadow = Shadow(every=2)
    >>> [shadow.wants() for _ in range(4)]
    [True, False, True, False]
    """

    def __init__(self, every: int = 50, usual: Estimate | None = None) -> None:
        if isinstance(every, bool) or not 1 <= every <= 10**6:
            raise InputError(f"every={every!r} is out of range", cure="Use 1 to 1000000.")
        self._every, self._seen = every, 0
        self.frames: int = 0
        self._equal = 0
        self._delta, self._delta_squares = 0.0, 0.0
        self._thinner = Thinner(longest_s=0.0, keep=_REMEMBERED)
        self._usual = usual
        self._recent: deque[int] = deque(maxlen=_WINDOW)
        self._windows: deque[tuple[int, int]] = deque(maxlen=3)
        self.apart: bool = False

    def wants(self) -> bool:
        """Whether the next frame is to be given to the float model, too."""
        self._seen += 1
        return (self._seen - 1) % self._every == 0

    def add(self, int8: np.ndarray[Any, Any], floats: np.ndarray[Any, Any]) -> None:
        """Take both models' probabilities of one frame, [C] each; scores that are not finite are left out.

        Raises:
            InputError: Different numbers of classes.
        """
        if int8.shape != floats.shape or int8.ndim != 1:
            raise InputError(
                f"probabilities of shapes {list(int8.shape)} and {list(floats.shape)}",
                cure="Give both models' probabilities of one frame.",
            )
        if not (np.isfinite(int8).all() and np.isfinite(floats).all()):
            return
        equal = int(int8.argmax()) == int(floats.argmax())
        delta = float(int8.max()) - float(floats.max())
        self.frames += 1
        self._equal += equal
        self._delta += delta
        self._delta_squares += delta * delta
        signals = np.array([float(equal), delta])
        self._thinner.add(signals, int(floats.argmax()), float(self.frames))
        self._recent.append(int(equal))
        if self._usual is not None and self.frames % _WINDOW == 0:
            self._judge(self._usual)

    def _judge(self, usual: Estimate) -> None:
        n = self._independent(_WINDOW)
        self._windows.append((round(n * (1 - sum(self._recent) / _WINDOW)), n))
        # an alarm takes one window, its end the latest three together: a middling effect does not come and go
        judged = self._windows if self.apart else [self._windows[-1]]
        differ, size = (sum(column) for column in zip(*judged, strict=True))
        chance = fisher_upper(differ, size, round(usual.n * (1 - usual.value)), usual.n)
        self.apart = chance < (_CALM if self.apart else _LEVEL)

    def _independent(self, frames: int) -> int:
        """What so many compared frames are worth; one tenth while their correlation is not known."""
        time = 10.0 if self._thinner.learning else self._thinner.time
        return max(1, int(frames / time))

    @property
    def effective(self) -> float:
        """Frames compared, in independent ones; 0 until the correlation time is known."""
        return 0.0 if self._thinner.learning else self.frames / self._thinner.time

    def agreement(self) -> Estimate | None:
        """Share of frames with the same answer; None before a first one.

        While the correlation of frames is not known the interval treats them as one tenth as many.
        """
        if not self.frames:
            return None
        n = max(1.0, self.effective or self.frames / 10)
        return wilson(self._equal / self.frames * n, n)

    def confidence_delta(self) -> Estimate | None:
        """int8's mean largest probability minus float's, with a normal interval; None before two frames."""
        if self.frames < 2:
            return None
        mean = self._delta / self.frames
        variance = max(0.0, self._delta_squares / self.frames - mean * mean)
        n = max(2.0, self.effective or self.frames / 10)
        half = normal_quantile(0.975) * math.sqrt(variance / n)
        return Estimate(mean, mean - half, mean + half, round(n), "normal, thinned")

    @property
    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        agreement, delta = self.agreement(), self.confidence_delta()
        return {
            "n": self.frames,
            "effective_samples": round(self.effective, 1),
            "agreement": None if agreement is None else agreement.as_json(),
            "confidence_delta": None if delta is None else delta.as_json(),
            "largest_top1_difference": None if agreement is None else 1 - agreement.value,
            "recent_agreement": sum(self._recent) / len(self._recent) if self._recent else None,
            "usual_agreement": None if self._usual is None else self._usual.value,
            "apart": self.apart,
        }


def usual_agreement(profile: Mapping[str, Any]) -> Estimate | None:
    """Agreement of int8 and float on the reference pictures of a drift profile, JSON; None where it was not measured.

    Raises:
        ModelLoadError: It is damaged.
    """
    report = profile.get("against_float")
    if report is None:
        return None
    try:
        found = report["agreement"]
        value, low, high = (float(found[name]) for name in ("value", "low", "high"))
        n = int(report["pictures"])
        if not (0 <= value <= 1 and 0 <= low <= high <= 1 and 1 <= n <= 10**9):
            raise ValueError(f"agreement {value} [{low}, {high}] of {n}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelLoadError(
            f"its drift profile is damaged: against_float ({error})",
            cure="Make it anew: edgecv drift profile MODEL --data REF --float FLOAT_MODEL --overwrite",
        ) from error
    return Estimate(value, low, high, n, str(found.get("method", "")))
