"""Drift in the field without labels: an estimate of accuracy with its interval, named causes, alarms.

>>> from edgecv.drift import MonitorOptions
>>> MonitorOptions(window=100).false_alarm_windows
1000.0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecv.drift.audit import AuditSampler
    from edgecv.drift.monitor import Monitor, Sample
    from edgecv.drift.options import MonitorOptions
    from edgecv.drift.profile import DriftProfile
    from edgecv.drift.reports import Alarm, WindowReport
    from edgecv.drift.shadow import Shadow

_HOMES = {
    "Alarm": "reports",
    "AuditSampler": "audit",
    "DriftProfile": "profile",
    "Monitor": "monitor",
    "MonitorOptions": "options",
    "Sample": "monitor",
    "Shadow": "shadow",
    "WindowReport": "reports",
}

__all__ = [
    "Alarm",
    "AuditSampler",
    "DriftProfile",
    "Monitor",
    "MonitorOptions",
    "Sample",
    "Shadow",
    "WindowReport",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgecv.drift' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgecv.drift.{_HOMES[name]}"), name)
