"""One-vs-rest linear SVMs on the descriptions of images (section 5.1)."""

import dataclasses
import json
import sys

import numpy as np
import tensorflow as tf

from ram_tf.storage import cache
from ram_tf.storage.atomic_files import atomic_write

FOLDS = 3  # of the cross-validation


def normalized(descriptions):
    """What the SVM sees of descriptions `(n, D)`: of length 1 each.

    So a cost means the same for every network, as LIBLINEAR's regularisation depends
    on the scale of its features (ours, the paper is silent).
    """
    return tf.math.l2_normalize(tf.cast(descriptions, tf.float32), -1)


@dataclasses.dataclass(frozen=True)
class OneVsRestSVM:
    """A linear SVM for each label, and its Platt scaling.

    Args:
        weights: `(L, D)`; zero for a label that is never, or always, present.
        bias: `(L,)`.
        platt: `(L, 2)` slope and offset: a label's probability is
            `sigmoid(slope * decision + offset)`.
        costs: `(L,)` the cost C that cross-validation chose.
        about: What the descriptions are: views, sizes, feature, weights; must be equal
            where it is used.
        fitted_to: A key of the training data and of how it was fitted; "" for unknown.
        costs_chosen_by: How many images' decisions were compared to choose the costs;
            None for unknown.
    """

    weights: np.ndarray
    bias: np.ndarray
    platt: np.ndarray
    costs: np.ndarray
    about: dict
    fitted_to: str = ""
    costs_chosen_by: int | None = None

    def decisions(self, descriptions):
        """Signed distances `(n, L)` of descriptions `(n, D)`, as a float32 tensor."""
        return tf.matmul(normalized(descriptions), self.weights.T) + self.bias

    def probabilities(self, decisions):
        """Platt's probabilities of decisions `(n, L)`, as a float32 tensor."""
        return tf.sigmoid(self.platt[:, 0] * decisions + self.platt[:, 1])

    def postprocess(self, outputs):
        """Puts decisions and their probabilities in place of a network's scores.

        Args:
            outputs: The dict of a `MultiView` that describes, tensors or arrays.

        Returns:
            The dict without `description`; regions and their scores stay the network's.
        """
        decisions = self.decisions(outputs["description"])
        rest = {name: v for name, v in outputs.items() if name != "description"}
        probabilities = self.probabilities(decisions)
        return {**rest, "scores": decisions, "probabilities": probabilities}

    def save(self, path):
        """Writes it as an npz file, without pickle."""
        arrays = dataclasses.asdict(self)
        arrays["about"] = json.dumps(self.about)
        arrays["costs_chosen_by"] = self.costs_chosen_by or 0
        with atomic_write(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no such file.
        """
        try:
            arrays = cache.load(path)
            arrays["about"] = json.loads(str(arrays["about"]))
            arrays["fitted_to"] = str(arrays.get("fitted_to", ""))
            arrays["costs_chosen_by"] = int(arrays.get("costs_chosen_by", 0)) or None
            read = cls(**arrays)
            read._check()
            return read
        except FileNotFoundError as error:
            raise FileNotFoundError(
                "The run has no SVM yet. Expected one that evaluate.py --svm fitted. "
                f"Received: no file {path}"
            ) from error
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                "The SVM cannot be read. Expected a file that evaluate.py --svm wrote, "
                f"{path}. Received: {error}"
            ) from error

    def _check(self):
        """Raises a `ValueError` where the arrays do not belong together."""
        count = len(self.weights) if self.weights.ndim == 2 else -1
        shapes = {"bias": (count,), "platt": (count, 2), "costs": (count,)}
        shapes["weights"] = self.weights.shape
        for name, shape in shapes.items():
            array = getattr(self, name)
            fits = array.dtype == np.float32 and array.shape == shape
            if not fits or not np.isfinite(array).all():
                raise ValueError(f"{name} of {array.dtype} {array.shape}")
        if not isinstance(self.about, dict):
            raise ValueError(f"about of {type(self.about).__name__}")


def remember(path, about, fitted_to, fit):
    """Reads the SVMs of a file, or fits and saves them.

    Args:
        path: Of the file.
        about: See `OneVsRestSVM`.
        fitted_to: The same; stored SVMs are read where both are theirs.
        fit: A function without arguments to `OneVsRestSVM`s about these descriptions.

    Returns:
        The `OneVsRestSVM`.
    """
    try:
        stored = OneVsRestSVM.load(path)
        if (stored.about, stored.fitted_to) == (about, fitted_to):
            return stored
    except FileNotFoundError:
        pass
    except ValueError as error:
        print(f"fitted again: {error}", file=sys.stderr)
    fitted = dataclasses.replace(fit(), fitted_to=fitted_to)
    fitted.save(path)
    return fitted


class SVMView:
    """A `MultiView` whose scores are an SVM's decisions.

    Args:
        view: A `MultiView` that describes.
        svm: The `OneVsRestSVM` fitted to its descriptions.

    Call arguments:
        images: See `MultiView`.

    Returns:
        The dict of `MultiView`, see `OneVsRestSVM.postprocess`.
    """

    def __init__(self, view, svm):
        self.view = view
        self.svm = svm
        self.models, self.sizes = view.models, view.sizes

    @property
    def about(self):
        how = {"normalisation": "length 1", "class_weight": None, "folds": FOLDS}
        costs = [float(cost) for cost in self.svm.costs]
        chosen = {"costs": costs, "costs_chosen_by": self.svm.costs_chosen_by}
        return {**self.view.about, "svm": True, **how, **chosen}

    def __call__(self, images):
        return self.svm.postprocess(self.view(images))
