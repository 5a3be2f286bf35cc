"""Export of trained models, and prediction for image files with exported models.

Exports a `Run` as a SavedModel, ONNX or LiteRT file, and predicts with any of these or
with a server. Start reading at `export`, then `predictor`.
"""
