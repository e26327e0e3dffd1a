"""A generator as a file for other programs: a TensorFlow SavedModel, ONNX, or a web page."""
