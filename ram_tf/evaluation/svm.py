"""One-vs-rest linear SVMs on the descriptions of images (section 5.1)."""

import dataclasses
import json
import sys

import joblib
import numpy as np
import tensorflow as tf
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import LinearSVC

from ram_tf.data import progress
from ram_tf.storage import cache
from ram_tf.storage.atomic_files import atomic_write

FOLDS = 3  # of the cross-validation
COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)
# Held-out positives of a label that are needed to choose its cost and scaling.
MIN_POSITIVES = 5
# Smallest slope of Platt scaling: probabilities rank images as decisions do.
MIN_SLOPE = 0.01


def normalized(descriptions):
    """Scales descriptions `(n, D)` to length 1 each.

    A cost then means the same for every network, as LIBLINEAR's regularisation depends
    on the scale of its features (ours; the paper does not say).
    """
    return tf.math.l2_normalize(tf.cast(descriptions, tf.float32), -1)


@dataclasses.dataclass(frozen=True)
class OneVsRestSVM:
    """A linear SVM for each label, and its Platt scaling.

    Args:
        weights: `(L, D)`; zero for a label that is never or always present.
        bias: `(L,)`.
        platt: `(L, 2)` slope and offset: a label's probability is
            `sigmoid(slope * decision + offset)`.
        costs: `(L,)` the cost C that cross-validation chose.
        about: A dict of what the descriptions depend on: views, sizes, feature and
            weights; the model that it is used with must have the same.
        fitted_to: A cache key of the training data and the method; "" if unknown.
        costs_chosen_by: Number of images that the costs were chosen on; None if
            unknown.
    """

    weights: np.ndarray
    bias: np.ndarray
    platt: np.ndarray
    costs: np.ndarray
    about: dict
    fitted_to: str = ""
    costs_chosen_by: int | None = None

    def decisions(self, descriptions):
        """Returns signed distances `(n, L)` of descriptions `(n, D)`, float32."""
        return tf.matmul(normalized(descriptions), self.weights.T) + self.bias

    def probabilities(self, decisions):
        """Returns Platt's probabilities of decisions `(n, L)`, float32."""
        return tf.sigmoid(self.platt[:, 0] * decisions + self.platt[:, 1])

    def postprocess(self, outputs):
        """Replaces a network's scores and probabilities by those of the SVMs.

        Args:
            outputs: The dict of a `MultiView` that returns descriptions, tensors or
                arrays.

        Returns:
            The dict without `description`; regions and their scores stay the network's.
        """
        decisions = self.decisions(outputs["description"])
        rest = {name: v for name, v in outputs.items() if name != "description"}
        probabilities = self.probabilities(decisions)
        return {**rest, "scores": decisions, "probabilities": probabilities}

    def save(self, path):
        """Writes an npz file, without pickle."""
        arrays = dataclasses.asdict(self)
        arrays["about"] = json.dumps(self.about)
        arrays["costs_chosen_by"] = self.costs_chosen_by or 0
        with atomic_write(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def load(cls, path):
        """Reads a file of `save`.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged, or none of `save`.
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
        """Raises a `ValueError` if the arrays do not belong together."""
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
        path: The file; it is read if its `about` and `fitted_to` are these.
        about: See `OneVsRestSVM`.
        fitted_to: See `OneVsRestSVM`.
        fit: A function without arguments that fits a `OneVsRestSVM`.

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
        print(f"The SVMs are fitted again: {error}", file=sys.stderr)
    fitted = dataclasses.replace(fit(), fitted_to=fitted_to)
    fitted.save(path)
    return fitted


class SVMView:
    """A `MultiView` whose scores are an SVM's decisions.

    Args:
        view: A `MultiView` that returns descriptions.
        svm: The `OneVsRestSVM` fitted to its descriptions.

    Call arguments:
        images: See `MultiView`.

    Returns:
        The dict of `MultiView`, see `OneVsRestSVM.postprocess`.
    """

    def __init__(self, view, svm):
        self.view = view
        self.svm = svm
        self.models, self.sizes, self.crops = view.models, view.sizes, view.crops

    @property
    def about(self):
        how = {"normalisation": "length 1", "class_weight": None, "folds": FOLDS}
        costs = [float(cost) for cost in self.svm.costs]
        chosen = {"costs": costs, "costs_chosen_by": self.svm.costs_chosen_by}
        return {**self.view.about, "svm": True, **how, **chosen}

    def __call__(self, images):
        return self.svm.postprocess(self.view(images))


def fit(
    descriptions,
    labels,
    about,
    seed=0,
    costs=COSTS,
    folds=FOLDS,
    jobs=-1,
    held_out=None,
):
    """Fits a linear SVM for each label with LIBLINEAR.

    The cost is the one with the best average precision in cross-validation, whose
    decisions on the validation folds also fit the Platt scaling. Unknown labels are
    ignored.

    Args:
        descriptions: `(n, D)` of the training split.
        labels: `(n, L)` 1, 0 or -1.
        about: See `OneVsRestSVM`.
        seed: Seed of the division into folds.
        costs: Candidate costs C.
        folds: Number of folds; fewer for a label with fewer positives or negatives, and
            none for one with a single one, whose cost is the middle candidate.
        jobs: Labels fitted in parallel; -1 for one per processor.
        held_out: `(n,)` bool, the images that the network was not trained on; None for
            none. The others' descriptions reveal their labels: any cost does well on
            them. So the held-out images alone choose the cost, one for all labels, by
            the mean over labels with at least `MIN_POSITIVES` of them, and fit the
            Platt scaling of these labels (ours). All images fit the scaling of other
            labels, and choose each label's own cost if no label has enough.

    Returns:
        A `OneVsRestSVM`.
    """
    features = normalized(descriptions).numpy()
    # LIBLINEAR works in double precision: converted once, not in each of its fits.
    features = np.ascontiguousarray(features, np.float64)
    columns = np.asarray(labels).T
    held_out = np.zeros(len(features), bool) if held_out is None else held_out
    held_out = np.asarray(held_out)
    # Threads: LIBLINEAR releases the interpreter's lock, and the features are shared.
    pool = joblib.Parallel(jobs, return_as="generator", prefer="threads")

    def each_label(function, title, *rows):
        tasks = (joblib.delayed(function)(*row) for row in zip(*rows, strict=True))
        return list(progress.bar(pool(tasks), title, len(columns), "label"))

    decisions = each_label(
        lambda column: _cross_validate(features, column, seed, costs, folds),
        "cross-validation",
        columns,
    )
    chosen, chosen_by = _choose_costs(columns, decisions, costs, held_out)
    fitted = each_label(
        lambda *label: _fit_label(features, held_out, costs, *label),
        "SVM",
        columns,
        decisions,
        chosen,
    )
    weights, bias, platt = zip(*fitted, strict=True)
    return OneVsRestSVM(
        np.array(weights, np.float32),
        np.array(bias, np.float32),
        np.array(platt, np.float32),
        np.array(chosen, np.float32),
        about,
        costs_chosen_by=chosen_by,
    )


def _cross_validate(features, column, seed, costs, folds):
    """Computes each image's decision, for each cost, by an SVM not trained on it.

    Returns:
        `(len(costs), n)`, NaN where the label is unknown; None for a label with fewer
        than two positives or two negatives.
    """
    known = column >= 0
    x, y = features[known], column[known] > 0
    folds = min(folds, y.sum(), (~y).sum())
    if folds < 2:
        return None
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    decisions = np.full((len(costs), len(column)), np.nan)
    for row, cost in zip(decisions, costs, strict=True):
        row[known] = cross_val_predict(
            _svm(cost), x, y, cv=parts, method="decision_function"
        )
    return decisions


def _choose_costs(columns, decisions, costs, held_out):
    """Returns the cost of each label, and on how many images they were chosen."""
    joint = [
        _precisions(column, by_cost, held_out)
        for column, by_cost in zip(columns, decisions, strict=True)
        if by_cost is not None and _enough_positives(column[held_out])
    ]
    if joint:
        best = costs[int(np.mean(joint, 0).argmax())]
        return [best] * len(columns), int(held_out.sum())
    own = [
        costs[len(costs) // 2]
        if by_cost is None
        else costs[int(np.argmax(_precisions(column, by_cost, column >= 0)))]
        for column, by_cost in zip(columns, decisions, strict=True)
    ]
    return own, len(held_out)


def _precisions(column, decisions, chosen):
    """Returns the average precision of each cost's decisions on chosen images."""
    chosen = chosen & (column >= 0)
    return [
        average_precision_score(column[chosen] > 0, row[chosen]) for row in decisions
    ]


def _both_kinds(column):
    return (column > 0).any() and (column == 0).any()


def _enough_positives(column):
    return _both_kinds(column) and (column > 0).sum() >= MIN_POSITIVES


def _fit_label(features, held_out, costs, column, decisions, cost):
    known = column >= 0
    x, y = features[known], column[known] > 0
    if not _both_kinds(column):
        # The probability is the share of images, smoothed like Platt's targets. A label
        # that is unknown everywhere counts as absent once, so that it is not predicted.
        share = (y.sum() + 1) / (max(1, len(y)) + 2)
        platt = (0.0, np.log(share / (1 - share)))
        return np.zeros(x.shape[1]), -1.0 if share < 0.5 else 1.0, platt
    svm = _svm(cost).fit(x, y)
    if decisions is None:
        platt = platt_scaling(y, svm.decision_function(x))
    else:
        chosen = known & held_out if _enough_positives(column[held_out]) else known
        platt = platt_scaling(column[chosen] > 0, decisions[costs.index(cost)][chosen])
    return svm.coef_[0], svm.intercept_[0], platt


def _svm(cost):
    # The primal needs no random numbers. The dual shares one generator among all
    # threads of the process, so that no seed could repeat its results.
    return LinearSVC(C=cost, dual=False, max_iter=10_000)


def platt_scaling(present, decisions):
    """Fits `sigmoid(slope * decision + offset)` to the share of present labels.

    Args:
        present: `(n,)` booleans, both values present.
        decisions: `(n,)` of an SVM that was not trained on the images.

    Returns:
        Slope and offset. The slope is positive (ours): if the SVM ranked these images
        worse than chance, a negative one would reverse the ranking of all others.

    Reference:
        Platt, Probabilistic Outputs for Support Vector Machines, 1999; the targets lie
        a little inside 0 and 1, so that few images do not give certainty.
    """
    positives, negatives = present.sum(), (~present).sum()
    target = np.where(present, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def cost(parameters):
        logits = parameters[0] * decisions + parameters[1]
        loss = np.logaddexp(0, logits) - target * logits
        error = expit(logits) - target
        return loss.sum(), np.array([error @ decisions, error.sum()])

    start = [1.0, np.log((positives + 1) / (negatives + 1))]
    bounds = [(MIN_SLOPE, None), (None, None)]
    precise = {"ftol": 1e-14, "gtol": 1e-8}
    return tuple(minimize(cost, start, jac=True, bounds=bounds, options=precise).x)
