"""Target ``openvino``: IR made by OpenVINO's own ONNX frontend, with every scale as it was."""
