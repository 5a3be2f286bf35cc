"""Metrics for multi-label predictions, computed from NumPy arrays.

`multi_label` holds the basic metrics; `protocols` computes them as each paper does.
"""

from ram_tf.metrics.multi_label import average_precision, precision_recall_f1

__all__ = ["average_precision", "precision_recall_f1"]
