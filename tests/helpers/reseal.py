"""Negative controls: change a copy of an artifact, then recompute its digests.

Otherwise the checksum would notice the change, and not the gate that a test is about.
"""

from __future__ import annotations

from pathlib import Path

from edgecv import artifact

__all__ = ["reseal"]


def reseal(path: Path) -> artifact.Manifest:
    """Make the artifact at *path* intact again: same manifest, identity and digests as they are now.

    The model's bytes must have been changed outside the manifest: in the flatbuffer, before the last
    ONNX metadata entry, in the xml outside the manifest's element, or in the bin.
    """
    file = artifact.read(path, check="off")
    assert file.manifest is not None, f"{path} holds no readable manifest"
    members = dict(file.members) or None
    data = artifact.seal(file.kind, file.body, file.weights, file.manifest, extra_files=members)
    path.write_bytes(data)
    again = artifact.read(path)
    assert again.state == "intact"
    assert again.manifest is not None
    return again.manifest
