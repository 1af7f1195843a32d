"""torch to ONNX to INT8."""
