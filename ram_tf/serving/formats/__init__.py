"""Writes and reads trained models as SavedModel, ONNX and LiteRT, with a model card.

In: a view of trained models. Out: a version's folder or a file. Start at `export`;
`single_size` has what ONNX and LiteRT share, such as the refusal of an operation.
"""
