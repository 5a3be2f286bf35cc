"""Loads what most tests need, once, before processes are forked from it.

Nothing of `ram_tf` is loaded, since each process reads it from the copy.
"""

import keras  # noqa: F401
import pytest  # noqa: F401
import scipy.optimize  # noqa: F401
import sklearn.linear_model
import sklearn.model_selection
import sklearn.svm  # noqa: F401
import tensorflow as tf  # noqa: F401
