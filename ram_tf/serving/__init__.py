"""From a trained model to files and servers, and from image files to predictions.

In: a trained `Run`. Out: a SavedModel, ONNX or LiteRT file; from these, predictions.
Start reading at `export`, then `predictor`.
"""
