"""What predictions are judged by: NumPy arrays in, numbers out.

Start reading at `multi_label`; `protocols` says how the papers count.
"""

from ram_tf.metrics.multi_label import average_precision, precision_recall_f1

__all__ = ["average_precision", "precision_recall_f1"]
