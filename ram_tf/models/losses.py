"""The losses of scores and regions (section 4), each a float32 scalar.

Labels are `(B, L)` 1 present, 0 absent, -1 unknown, of any number type; an unknown
label changes neither the loss nor its gradient. Scores are `(B, L)` of any float type,
before softmax or sigmoid. Inputs are cast to float32, so that half precision inside the
model cannot make a loss overflow.
"""

import math

import numpy as np
import tensorflow as tf

from ram_tf.models.choices import LOSSES


def euclidean(labels, scores):
    """Computes the squared distance of softmax and L1-normalised labels (Eq. 7-8).

    Softmax and norm run over the known labels of each image only. An image without any
    present label has no L1-normalised label vector: its distance is 0, and it still
    counts in the `N` of Eq. 8 (ours, the paper trains on images with labels).

    Returns:
        A scalar, the mean over images; between 0 and 2.
    """
    present, known = _present_and_known(labels)
    # So low that an unknown label's softmax is 0, as its target is; but finite, so that
    # a row of only unknown labels does not give NaN.
    scores = tf.where(known, tf.cast(scores, tf.float32), -1e9)
    count = tf.reduce_sum(present, -1, keepdims=True)  # (B, 1)
    target = tf.math.divide_no_nan(present, count)
    distance = tf.reduce_sum(tf.square(tf.nn.softmax(scores) - target), -1)  # (B,)
    return tf.reduce_mean(tf.where(count[:, 0] > 0, distance, 0.0))


def binary_crossentropy(labels, scores):
    """Computes the sigmoid cross-entropy of each label separately.

    Ours; the paper trains with `euclidean`, whose scores cannot be compared between
    images.

    Returns:
        A scalar: the mean over the known labels of an image, then over images. An image
        without known labels counts as 0.
    """
    present, known = _present_and_known(labels)
    scores = tf.cast(scores, tf.float32)
    terms = tf.nn.sigmoid_cross_entropy_with_logits(present, scores)
    return _mean_over_known(terms, known)


def asymmetric(labels, scores, gamma_positive=0.0, gamma_negative=4.0, clip=0.05):
    """Computes the asymmetric loss, which down-weights easy absent labels.

    With `p` the sigmoid of the score and `p_m = max(p - clip, 0)`, a present label
    costs `-(1 - p)^gamma_positive log p` and an absent one
    `-p_m^gamma_negative log(1 - p_m)`. The gradient includes that of the weights (the
    authors' training stops it there). With equal gammas and without clip it is the
    focal loss (without its alpha); with all three zero it is `binary_crossentropy`.

    Args:
        labels: As in this module's docstring.
        scores: As in this module's docstring.
        gamma_positive: Focus of present labels, at least 0; the authors use 0.
        gamma_negative: Focus of absent labels, at least 0; the authors use 4.
        clip: Probability below which an absent label costs nothing, in [0, 1); the
            authors use 0.05.

    Returns:
        A scalar, averaged as in `binary_crossentropy`.

    Raises:
        ValueError: A gamma or `clip` is out of range.

    Reference:
        Ben-Baruch et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021,
        https://arxiv.org/abs/2009.14119
    """
    if gamma_positive < 0 or gamma_negative < 0 or not 0 <= clip < 1:
        raise ValueError(
            "Invalid argument of the asymmetric loss. Expected gammas of at least 0 "
            f"and 0 <= clip < 1. Received: gamma_positive={gamma_positive}, "
            f"gamma_negative={gamma_negative}, clip={clip}"
        )
    present, known = _present_and_known(labels)
    scores = tf.cast(scores, tf.float32)
    # Powers are computed as exp(gamma * log p): `tf.pow` has infinite gradients at 0
    # for gammas below 1.
    log_p, log_not_p = tf.math.log_sigmoid(scores), tf.math.log_sigmoid(-scores)
    positive = -tf.exp(gamma_positive * log_not_p) * log_p
    if clip:
        shifted = tf.sigmoid(scores) - clip
        # False for NaN, which must reach the loss to be detected.
        clipped = shifted <= 0
        # Keeps the log and its gradient finite where the loss is 0.
        shifted = tf.where(clipped, 0.5, shifted)
        weight = tf.exp(gamma_negative * tf.math.log(shifted))
        log_rest = tf.math.log(tf.sigmoid(-scores) + clip)
        negative = tf.where(clipped, 0.0, -weight * log_rest)
    else:
        negative = -tf.exp(gamma_negative * log_p) * log_not_p
    return _mean_over_known(tf.where(present > 0, positive, negative), known)


CLASSIFICATION = {name: globals()[function] for name, function in LOSSES.items()}


def probabilities(scores, loss):
    """Converts the scores of a model trained with `loss` to probabilities.

    Args:
        scores: `(..., L)` of any float type.
        loss: A key of `CLASSIFICATION`.

    Returns:
        `(..., L)` float32: the softmax for `"euclidean"`, otherwise the sigmoid.
    """
    if loss not in CLASSIFICATION:
        raise ValueError(
            f"Unknown loss. Expected one of: {sorted(CLASSIFICATION)}. "
            f"Received: loss={loss!r}"
        )
    scores = tf.cast(scores, tf.float32)
    return tf.nn.softmax(scores) if loss == "euclidean" else tf.sigmoid(scores)


# The paper's anchors of five regions, in its order.
QUARTERS = (0.5, 0.5), (0.5, -0.5), (-0.5, 0.5), (-0.5, -0.5)


def anchors(regions):
    """Returns the points that regions 2 to K are drawn to (section 4.2, figure 4).

    They lie evenly on the circle of radius sqrt(2)/2. The paper gives four, kept in its
    order, and a picture for K = 9. For all other K ours continue from (0.5, 0.5)
    clockwise on the image, as in that picture.

    Args:
        regions: K, at least 1.

    Returns:
        `(K - 1, 2)` float32 NumPy array of `c_x, c_y` in [-1, 1] coordinates, y down;
        empty for K = 1.
    """
    if regions < 1:
        raise ValueError(
            "The number of regions is out of range. Expected 1 or more. "
            f"Received: regions={regions}"
        )
    if regions == 5:
        return np.array(QUARTERS, "float32")
    angles = math.pi / 4 + np.linspace(0, 2 * math.pi, regions - 1, endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles)], -1) * math.sqrt(2) / 2
    return points.astype("float32")


def starting_centres(regions):
    """Returns the initial centres of regions 1 to K that start at anchors.

    The first region has no anchor (section 4.2) and starts in the middle (ours).

    Args:
        regions: K, at least 1.

    Returns:
        A list of K pairs `t_x, t_y`.
    """
    return [[0.0, 0.0], *anchors(regions).tolist()]


def starting_regions(regions, scale):
    """Returns regions of one scale, centred on `starting_centres`.

    Args:
        regions: K, at least 1.
        scale: Width and height, as a share of the image's.

    Returns:
        A list of K quadruples `s_x, s_y, t_x, t_y`.
    """
    return [[scale, scale, *centre] for centre in starting_centres(regions)]


def anchor_constraint(regions):
    """Computes half the squared distance of regions 2 to K to their anchors (Eq. 9).

    Args:
        regions: `(B, K, 2, 3)` matrices of Eq. 1; K must be known.

    Returns:
        A scalar, summed over regions and averaged over images (ours, the paper does
        not specify it); 0 for K = 1, since the first region is unconstrained.
    """
    _, translation = _scale_and_translation(regions)
    count = translation.shape[1]
    if count is None:
        raise ValueError(
            "The number of regions is unknown. Expected regions of shape (B, K, 2, 3) "
            f"with a known K. Received: shape {regions.shape}"
        )
    return _sum_over_regions(0.5 * tf.square(translation[:, 1:] - anchors(count)))


def scale_constraint(regions, alpha=0.5):
    """Computes the squared excess of `|s_x|` and `|s_y|` over alpha (Eq. 10-11).

    Args:
        regions: `(B, K, 2, 3)` matrices of Eq. 1.
        alpha: Largest scale without a cost; 0.5 in section 4.2.

    Returns:
        A scalar, summed over regions and averaged over images (ours).
    """
    scale, _ = _scale_and_translation(regions)
    return _sum_over_regions(tf.square(tf.nn.relu(tf.abs(scale) - alpha)))


def positive_constraint(regions, beta=0.1):
    """Computes how far `s_x` and `s_y` are below beta, against mirroring (Eq. 12).

    Args:
        regions: `(B, K, 2, 3)` matrices of Eq. 1.
        beta: Smallest scale without a cost; 0.1 in section 4.2.

    Returns:
        A scalar, summed over regions and averaged over images (ours).
    """
    scale, _ = _scale_and_translation(regions)
    return _sum_over_regions(tf.nn.relu(beta - scale))


def localization(
    regions,
    lambda_anchor=0.01,
    lambda_positive=0.1,
    alpha=0.5,
    beta=0.1,
    constraints="ASP",
):
    """Computes the weighted sum of the three constraints, `L_loc` of Eq. 13.

    Args:
        regions: `(B, K, 2, 3)` matrices of Eq. 1.
        lambda_anchor: lambda_1, 0.01 in section 4.2.
        lambda_positive: lambda_2, 0.1 in section 4.2.
        alpha: See `scale_constraint`.
        beta: See `positive_constraint`.
        constraints: Letters of the constraints to add, as in the paper's ablation: A
            anchor, S scale, P positive; `""` for none.

    Returns:
        A scalar.
    """
    if not set(constraints) <= set("ASP"):
        raise ValueError(
            "Unknown constraint. Expected letters of 'ASP' (anchor, scale, "
            f"positive). Received: constraints={constraints!r}"
        )
    total = tf.zeros([])
    if "S" in constraints:
        total += scale_constraint(regions, alpha)
    if "A" in constraints:
        total += lambda_anchor * anchor_constraint(regions)
    if "P" in constraints:
        total += lambda_positive * positive_constraint(regions, beta)
    return total


def _present_and_known(labels):
    labels = tf.cast(labels, tf.float32)
    return tf.cast(labels > 0, tf.float32), labels >= 0


def _mean_over_known(terms, known):
    count = tf.reduce_sum(tf.cast(known, tf.float32), -1)  # (B,)
    total = tf.reduce_sum(tf.where(known, terms, 0.0), -1)
    return tf.reduce_mean(tf.math.divide_no_nan(total, count))


def _scale_and_translation(regions):
    regions = tf.cast(regions, tf.float32)
    scale = tf.stack([regions[..., 0, 0], regions[..., 1, 1]], -1)
    return scale, regions[..., 2]  # both (B, K, 2), x first


def _sum_over_regions(terms):
    return tf.reduce_mean(tf.reduce_sum(terms, [1, 2]))
