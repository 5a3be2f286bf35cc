"""Exported models, and predictions for image files by them or by servers.

In: a trained `Run`; encoded images. Out: a SavedModel or the like; predictions.
Start reading at `formats`, then `predictor`.
"""
