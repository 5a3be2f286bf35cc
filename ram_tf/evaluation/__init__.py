"""From a model's outputs on a split to figures, tables and pages.

In: trained runs and a split. Out: `results.json`, tables and reports.
Start reading at `infer_split`, then `results`.
"""
