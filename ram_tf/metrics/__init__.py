"""Metrics of multi-label predictions and of regions, and calibration.

In: NumPy arrays of labels and scores. Out: numbers.
Start reading at `multi_label`; `protocols` has the rules of each paper, `bootstrap` the
intervals, with an average precision of its own that counts images by weights.
"""

from ram_tf.metrics.multi_label import average_precision, precision_recall_f1

__all__ = ["average_precision", "precision_recall_f1"]
