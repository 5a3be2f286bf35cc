"""Evaluation: from a model's outputs on a split to metrics, tables and pages.

Start with `infer_split`, then read `results`.
"""
