"""What a model's scores are worth: a temperature, and a threshold for each label.

Both are fitted after training, on images that the model did not learn from, and stay
with the model: the temperature inside its probabilities, the thresholds beside them.
"""

import dataclasses
import itertools
import json
import reprlib

import numpy as np
from scipy import optimize

from ram_tf.metrics import multi_label, reliability
from ram_tf.models import losses

# Ours: beyond these a temperature makes every probability 0, 1 or the same.
COLDEST, HOTTEST = 0.01, 100.0
# Thresholds of labels that the data say nothing about: that of section 5.2.2, and one
# that only a probability of 1 reaches.
UNFITTED, UNREACHED = 0.5, 1.0
# Ours: fitted to fewer, a threshold is chance. That of a label with one positive among
# the last ranked would name the label on every image.
MIN_POSITIVES = 5


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How scores become probabilities, and probabilities predictions.

    `Calibration(1.0, (0.5,) * L)` leaves a model as it is.

    Args:
        temperature: What scores are divided by, 0.01 to 100. Above 1 the model was too
            sure of itself.
        thresholds: L probabilities in [0, 1]: a label is predicted where its calibrated
            probability reaches its threshold.
        precision_floor: What `fit_thresholds` was asked for, in [0, 1]; None for F1.
        unfitted: Indices of the labels whose thresholds `fit_thresholds` could not fit.
        error_before: The calibration error on the data of the fit, in [0, 1], before
            calibration; None where nothing was fitted.
        error_after: The same after it; on other images expect a little more.

    Raises:
        ValueError: A value is out of range, on construction.
    """

    temperature: float
    thresholds: tuple[float, ...]
    precision_floor: float | None = None
    unfitted: tuple[int, ...] = ()
    error_before: float | None = None
    error_after: float | None = None

    def __post_init__(self):
        if not _is_number(self.temperature, COLDEST, HOTTEST):
            expected = f"a temperature from {COLDEST} to {HOTTEST}"
            raise _refusal(expected, self.temperature)
        for threshold in self.thresholds:
            if not _is_number(threshold, 0, 1):
                raise _refusal("thresholds from 0 to 1", threshold)
        for name in ("precision_floor", "error_before", "error_after"):
            value = getattr(self, name)
            if value is not None and not _is_number(value, 0, 1):
                raise _refusal(f"a {name} from 0 to 1, or none", value)
        if not set(self.unfitted) <= set(range(len(self.thresholds))):
            raise _refusal("indices of labels in unfitted", self.unfitted)

    @property
    def about(self):
        """Its `temperature` and its `thresholds`, each where it changes anything."""
        about = {"temperature": self.temperature} if self.temperature != 1 else {}
        if any(threshold != UNFITTED for threshold in self.thresholds):
            about["thresholds"] = list(self.thresholds)
        return about

    def probabilities(self, scores, loss):
        """The calibrated probabilities of scores, for arrays and inside a graph.

        A sigmoid of `score / temperature` rises with the score, whatever the
        temperature: no label's ranking of the images changes, nor its AP. (Only from a
        quotient of about 16 on does float32 round sigmoids to 1, all alike.) A softmax
        keeps the order of the labels within an image, but a probability depends on the
        image's other scores too: the ranking **between** images may change.

        >>> scores = np.array([[1.0, 0.0, 0.0], [3.0, 2.9, -9.0]])
        >>> for temperature in (1.0, 4.0):
        ...     calibration = Calibration(temperature, (0.5,) * 3)
        ...     probabilities = calibration.probabilities(scores, "euclidean").numpy()
        ...     print(probabilities[:, 0].round(2))
        [0.58 0.52]
        [0.39 0.49]

        Args:
            scores: `(..., L)` floats, NumPy or TensorFlow.
            loss: The loss that the model was trained with, see `losses.probabilities`.

        Returns:
            `(..., L)` float32 tensor in [0, 1].
        """
        return losses.probabilities(scores / self.temperature, loss)

    def to_json(self, label_names):
        """The text of a `calibration.json`, with labels by name.

        Raises:
            ValueError: There is not one name, different from the others, a threshold.
        """
        names = list(label_names)
        if len(names) != len(self.thresholds) or len(set(names)) != len(names):
            raise _refusal(f"{len(self.thresholds)} different label names", names)
        content = dataclasses.asdict(self)
        content["thresholds"] = dict(zip(names, self.thresholds, strict=True))
        content["unfitted"] = [names[index] for index in self.unfitted]
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text, label_names):
        """Reads what `to_json` wrote for a model with these labels.

        Raises:
            ValueError: The text is no calibration, or that of other labels.
        """
        names = list(label_names)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _refusal("JSON", text) from error
        fields = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(content, dict) or set(content) != set(fields):
            raise _refusal(f"the fields {', '.join(fields)}", content)
        thresholds, unfitted = content["thresholds"], content["unfitted"]
        if not isinstance(thresholds, dict):
            raise _refusal("thresholds by label name", thresholds)
        for ours, theirs in itertools.zip_longest(names, thresholds):
            if ours != theirs:
                expected = f"the model's labels in their order, here {ours!r}"
                raise _refusal(expected, theirs)
        if not isinstance(unfitted, list) or any(n not in names for n in unfitted):
            raise _refusal("a list of unfitted labels of the model", unfitted)
        content["thresholds"] = tuple(thresholds.values())
        content["unfitted"] = tuple(map(names.index, unfitted))
        return cls(**content)


class CalibratedView:
    """A `MultiView` with calibrated probabilities.

    Args:
        view: The `MultiView` whose scores the temperature was fitted to.
        calibration: The `Calibration`.

    Call arguments:
        images: See `MultiView`.

    Returns:
        The dict of `MultiView`, see `postprocess`.
    """

    def __init__(self, view, calibration):
        self.view = view
        self.calibration = calibration
        self.models, self.sizes = view.models, view.sizes

    @property
    def about(self):
        return {**self.view.about, **self.calibration.about}

    def __call__(self, images):
        return self.postprocess(self.view(images))

    def postprocess(self, outputs):
        """Calibrates the probabilities of a dict of tensors or arrays."""
        loss = self.models[0].objective.loss
        probabilities = self.calibration.probabilities(outputs["scores"], loss)
        return {**outputs, "probabilities": probabilities}


def _is_number(value, low, high):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high


def _refusal(expected, received):
    # Shortened and escaped, since the file may be anyone's.
    return ValueError(
        f"The calibration cannot be used. Expected {expected}. "
        f"Received: {reprlib.repr(received)}"
    )


def fit(labels, scores, loss, precision_floor=None):
    """Fits a temperature, then thresholds on the probabilities that it gives.

    Args:
        labels: `(n, L)` 1, 0 or -1 of images that the model was not trained on.
        scores: `(n, L)` finite scores of the model for these images, made as those that
            are to be calibrated: of as many views, for instance.
        loss: A key of `losses.CLASSIFICATION`: the one that the model was trained with.
        precision_floor: See `fit_thresholds`.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: No label is known, or an argument is out of range.
    """
    labels, scores = multi_label.checked(labels, scores)
    if not (labels >= 0).any():
        raise ValueError(
            "There is nothing to calibrate on. Expected images with known labels. "
            f"Received: labels of shape {labels.shape}, none known"
        )
    temperature = fit_temperature(labels, scores, loss)
    before = losses.probabilities(scores, loss).numpy()
    after = losses.probabilities(scores / temperature, loss).numpy()
    thresholds, unfitted = fit_thresholds(labels, after, precision_floor, MIN_POSITIVES)
    return Calibration(
        temperature,
        tuple(thresholds.tolist()),
        precision_floor,
        tuple(unfitted),
        reliability.calibration_error(labels, before),
        reliability.calibration_error(labels, after),
    )


def fit_temperature(labels, scores, loss):
    """The temperature T at which `scores / T` make the labels most likely.

    Minimised is the negative log likelihood, for `"bce"` and `"asl"` of the sigmoids,
    over all known pairs of image and label; for `"euclidean"` of the softmax over an
    image's known labels against its L1-normalised labels (Eq. 7), over the images with
    a present label. Both are convex in 1 / T, so that their minimum is the only one.

    Args:
        labels: `(n, L)` 1, 0 or -1.
        scores: `(n, L)` finite scores.
        loss: A key of `losses.CLASSIFICATION`.

    Returns:
        A float between 0.01 and 100. It is 1, which changes nothing, where none is the
        best: without present or without absent labels; with scores that part these
        without a mistake, for which lower is better for ever; and with scores that part
        them no better than chance, for which higher is.

    Raises:
        ValueError: The scores are not finite or do not belong to the labels, or the
            loss is unknown.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2,
        https://arxiv.org/abs/1706.04599; by label with sigmoids: ours.
    """
    labels, scores = multi_label.checked(labels, scores)
    if loss not in losses.CLASSIFICATION:
        raise ValueError(
            f"Unknown loss. Expected one of: {sorted(losses.CLASSIFICATION)}. "
            f"Received: loss={loss!r}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            "Infinite scores have no temperature. Expected finite scores. Received: "
            f"{np.isinf(scores).sum()} infinite of {scores.size}"
        )
    known, present = labels >= 0, labels > 0
    if not present.any() or present[known].all():
        return 1.0
    if loss == "euclidean":
        rows = present.any(1)
        # As in `losses.euclidean`, so far below that its share is 0.
        options = np.where(known, scores, -1e9)[rows]
        wanted = present[rows] / present[rows].sum(1, keepdims=True)
    else:
        # A sigmoid is the softmax of a score and 0.
        options = np.stack([scores[known], np.zeros(known.sum())], 1)
        wanted = np.stack([present[known], ~present[known]], 1)
    # Below the highest option, so that no exponential overflows.
    options -= options.max(1, keepdims=True)
    chosen = (wanted * options).sum(1)

    def cost(log_temperature):
        temperature = np.exp(log_temperature)
        partition = np.log(np.exp(options / temperature).sum(1))
        return (partition - chosen / temperature).mean()

    bounds = np.log([COLDEST, HOTTEST])
    best = optimize.minimize_scalar(cost, bounds=bounds, method="bounded")
    if best.fun >= min(map(cost, bounds)):
        return 1.0
    return float(np.exp(best.x))


def fit_thresholds(labels, probabilities, precision_floor=None, min_positives=1):
    """The threshold of each label: of highest F1, or of highest recall above a floor.

    A threshold lies midway between the lowest probability that is predicted and the
    next lower one, 0 after the last: as far as can be from either, since those of other
    images will differ a little. Equal probabilities are predicted together or not at
    all. Of thresholds equally good the highest is taken, which predicts least.

    A threshold is as uncertain as its label is rare. That of highest F1 predicts a
    label everywhere if its probabilities tell nothing; if they are calibrated, it is
    half of the F1 that it reaches.

    Args:
        labels: `(n, L)` 1, 0 or -1; unknown entries are left out.
        probabilities: `(n, L)` in [0, 1].
        precision_floor: Lowest precision that is accepted, in [0, 1]; None for F1.
        min_positives: Labels with fewer positives have no threshold of their own.

    Returns:
        `(thresholds, unfitted)`: `(L,)` float64 in [0, 1], and the list of the labels'
        indices that have no threshold of their own: 0.5 with too few positives, 1 where
        the floor is out of reach.

    Raises:
        ValueError: An argument is out of range.

    Reference:
        Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure,
        ECML PKDD 2014, https://arxiv.org/abs/1402.1892
    """
    labels, probabilities = reliability.checked(labels, probabilities)
    if precision_floor is not None and not 0 <= precision_floor <= 1:
        raise ValueError(
            "A precision is a share. Expected a floor in [0, 1] or None. "
            f"Received: precision_floor={precision_floor}"
        )
    thresholds, unfitted = np.full(labels.shape[1], UNFITTED), []
    for index in range(labels.shape[1]):
        known = labels[:, index] >= 0
        order = np.argsort(-probabilities[known, index])
        ranked = probabilities[known, index][order]
        present = labels[known, index][order] > 0
        if present.sum() < max(1, min_positives):
            unfitted.append(index)
            continue
        following = np.append(ranked[1:], -np.inf)
        correct, predicted = np.cumsum(present), np.arange(1, len(ranked) + 1)
        if precision_floor is None:
            worth = 2 * correct / (predicted + correct[-1])  # F1
        else:
            worth = np.where(correct / predicted >= precision_floor, correct, 0)
        worth[ranked == following] = 0  # no threshold lies between equals
        best = np.argmax(worth)
        if worth[best]:
            thresholds[index] = (ranked[best] + max(0, following[best])) / 2
        else:
            thresholds[index] = UNREACHED
            unfitted.append(index)
    return thresholds, unfitted
