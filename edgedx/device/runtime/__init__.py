"""A model made to answer: ONNX Runtime, TensorRT, golden samples."""
