"""Loads what the scripts need, once, before processes are forked from it."""

from ram_tf.cli import command  # noqa: F401
from ram_tf.evaluation import infer_split, results  # noqa: F401
from ram_tf.evaluation.papers import published_results  # noqa: F401
from ram_tf.runs.splits import proposals, run_splits  # noqa: F401
from ram_tf.serving import predict_files  # noqa: F401
from ram_tf.serving.formats import export  # noqa: F401
from ram_tf.training import two_steps  # noqa: F401
