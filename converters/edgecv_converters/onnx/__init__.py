"""Target ``onnx``: the same graph, batch bound, with metadata that other programs read."""
