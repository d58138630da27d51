"""``Runtime``: one API over every engine.

>>> import edgecv
>>> from edgecv.selftest.bundle import MODELS, load_bundle
>>> shipped = load_bundle()
>>> with edgecv.Runtime(shipped.files[MODELS["tflite"]]) as runtime:
...     answer = runtime.classify(shipped.pictures[0])
...     answers = [a.classification for a in runtime.stream(shipped.pictures[:3], policy="all")]
>>> answer.top.label == shipped.labels[0], len(answers), answer.score_kind
(True, 3, 'probability')
"""

from __future__ import annotations

from edgecv.runtime.core import Runtime

__all__ = ["Runtime"]
