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
from tqdm import tqdm

from ram_tf.storage import cache
from ram_tf.storage.atomic_files import atomic_write

FOLDS = 3  # of the cross-validation
COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)
# Positives among a few images from which on these tell something of a label.
ENOUGH = 5
# Least slope of Platt scaling: probabilities rank images as decisions do.
LEAST_SLOPE = 0.01


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


def fit(
    descriptions,
    labels,
    about,
    seed=0,
    costs=COSTS,
    folds=FOLDS,
    jobs=-1,
    unlearnt=None,
):
    """Fits a linear SVM for each label with LIBLINEAR.

    The cost is the one of best average precision on the folds that were left out;
    their decisions fit the Platt scaling, too. See `unlearnt` for which images count.
    Unknown labels are left out.

    Args:
        descriptions: `(n, D)` of the training split.
        labels: `(n, L)` 1, 0 or -1.
        about: See `OneVsRestSVM`.
        seed: Of the division into folds.
        costs: To choose from.
        folds: How many; fewer for a label with fewer images on one side, and none with
            only one, whose own cost is the middle one.
        jobs: Labels at a time; -1 for as many as there are processors.
        unlearnt: `(n,)` bool, the images that the network has not learnt from; None for
            none. Only on these do decisions tell what they would be on new images: the
            descriptions of all others know their labels, and any cost does well there.
            So they alone choose the cost, one for all labels, by the mean over those
            that five or more of them have, and fit the Platt scaling of these (ours).
            Labels that fewer of them have are scaled by all images; where there are no
            others, each has the cost that is best on all images.

    Returns:
        A `OneVsRestSVM`.
    """
    features = normalized(descriptions).numpy()
    # LIBLINEAR works in double precision: converted once, not in each of its fits.
    features = np.ascontiguousarray(features, np.float64)
    columns = np.asarray(labels).T
    new = np.zeros(len(features), bool) if unlearnt is None else np.asarray(unlearnt)
    # Threads, since LIBLINEAR lets go of the interpreter and the features are shared.
    pool = joblib.Parallel(jobs, return_as="generator", prefer="threads")

    def each_label(function, title, *rows):
        tasks = (joblib.delayed(function)(*row) for row in zip(*rows, strict=True))
        return list(tqdm(pool(tasks), title, len(columns), unit="label", leave=False))

    left_out = each_label(
        lambda column: _left_out(features, column, seed, costs, folds),
        "cross-validation",
        columns,
    )
    chosen, judges = _choose_costs(columns, left_out, costs, new)
    fitted = each_label(
        lambda *label: _fit_label(features, new, costs, *label),
        "SVM",
        columns,
        left_out,
        chosen,
    )
    weights, bias, platt = zip(*fitted, strict=True)
    return OneVsRestSVM(
        np.array(weights, np.float32),
        np.array(bias, np.float32),
        np.array(platt, np.float32),
        np.array(chosen, np.float32),
        about,
        costs_chosen_by=judges,
    )


def _left_out(features, column, seed, costs, folds):
    """The decision on each image, by cost, of an SVM that has not seen it.

    Returns:
        `(len(costs), n)`, NaN where the label is unknown; None for a label with fewer
        than two images on one side.
    """
    known = column >= 0
    x, y = features[known], column[known] > 0
    folds = min(folds, y.sum(), (~y).sum())
    if folds < 2:
        return None
    # The same division for each cost.
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    decisions = np.full((len(costs), len(column)), np.nan)
    for row, cost in zip(decisions, costs, strict=True):
        row[known] = cross_val_predict(
            _svm(cost), x, y, cv=parts, method="decision_function"
        )
    return decisions


def _choose_costs(columns, left_out, costs, new):
    """The cost for each label, its own or one for all, and how many images chose."""
    middle = costs[len(costs) // 2]
    joint = [
        _precisions(column, decisions, new)
        for column, decisions in zip(columns, left_out, strict=True)
        if decisions is not None and _tells_enough(column[new])
    ]
    if joint:
        return [costs[int(np.mean(joint, 0).argmax())]] * len(columns), int(new.sum())
    own = [
        middle
        if decisions is None
        else costs[int(np.argmax(_precisions(column, decisions, column >= 0)))]
        for column, decisions in zip(columns, left_out, strict=True)
    ]
    return own, len(new)


def _precisions(column, decisions, counted):
    """The average precision of each cost's decisions on those images that count."""
    counted = counted & (column >= 0)
    return [
        average_precision_score(column[counted] > 0, row[counted]) for row in decisions
    ]


def _both_kinds(column):
    return (column > 0).any() and (column == 0).any()


def _tells_enough(column):
    return _both_kinds(column) and (column > 0).sum() >= ENOUGH


def _fit_label(features, new, costs, column, left_out, cost):
    known = column >= 0
    x, y = features[known], column[known] > 0
    if not _both_kinds(column):
        # The probability is the share of images, smoothed as Platt's targets are. What
        # nothing is known of counts as absent from one image, so that it is not named.
        share = (y.sum() + 1) / (max(1, len(y)) + 2)
        platt = (0.0, np.log(share / (1 - share)))
        return np.zeros(x.shape[1]), -1.0 if share < 0.5 else 1.0, platt
    svm = _svm(cost).fit(x, y)
    if left_out is None:
        platt = platt_scaling(y, svm.decision_function(x))
    else:
        judged = known & new if _tells_enough(column[new]) else known
        decisions = left_out[costs.index(cost)]
        platt = platt_scaling(column[judged] > 0, decisions[judged])
    return svm.coef_[0], svm.intercept_[0], platt


def _svm(cost):
    # The dual draws from one random generator for all threads of the process: its
    # results are those of no seed. The primal draws nothing.
    return LinearSVC(C=cost, dual=False, max_iter=10_000)


def platt_scaling(present, decisions):
    """Fits `sigmoid(slope * decision + offset)` to the share of present labels.

    Args:
        present: `(n,)` booleans, of both kinds.
        decisions: `(n,)` of an SVM that has not seen the images.

    Returns:
        Slope and offset. The slope is positive (ours): fitted to a few images that an
        SVM has ranked worse than chance, it would turn the ranking of all others round.

    Reference:
        Platt, Probabilistic Outputs for Support Vector Machines, 1999: targets a little
        inside 0 and 1, so that few images do not make it certain.
    """
    positives, negatives = present.sum(), (~present).sum()
    target = np.where(present, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def cost(parameters):
        logits = parameters[0] * decisions + parameters[1]
        loss = np.logaddexp(0, logits) - target * logits
        error = expit(logits) - target
        return loss.sum(), np.array([error @ decisions, error.sum()])

    start = [1.0, np.log((positives + 1) / (negatives + 1))]
    bounds = [(LEAST_SLOPE, None), (None, None)]
    precise = {"ftol": 1e-14, "gtol": 1e-8}
    return tuple(minimize(cost, start, jac=True, bounds=bounds, options=precise).x)
