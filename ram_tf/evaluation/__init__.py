"""From a model's outputs on a split to metrics, tables and pages.

In: trained runs or an exported model; a split. Out: `results.json`, a report.
Start reading at `infer_split`; `results` computes the metrics and writes the file.
"""
