"""A generator as a file for other programs: a TensorFlow SavedModel, or ONNX."""
