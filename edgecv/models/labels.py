"""Class names that models come with."""

from __future__ import annotations

import importlib

from edgecv.models.torchvision_schemas import import_timm

__all__ = ["imagenet_labels"]


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 ImageNet-1k names in output order, from timm's own tables (nothing is downloaded).

    Two classes are both called "crane"; each gets its WordNet id appended, so that names are
    unique.
    """
    import_timm()
    info = importlib.import_module("timm.data").ImageNetInfo()
    names = [str(info.index_to_description(i)) for i in range(info.num_classes())]
    return tuple(
        f"{name} ({info.index_to_label_name(i)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    )
