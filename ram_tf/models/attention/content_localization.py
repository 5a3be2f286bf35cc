"""Finds the next region in the feature map (ours; Eq. 5 uses only the state)."""

from typing import NamedTuple

import keras
import tensorflow as tf

from ram_tf.models.evidence_map import first_largest, mean_of_neighbours

# Weight of all evidence, relative to unexplained evidence. Small, so that it decides
# only when the regions so far explain all probable labels.
REMAINING = 0.01
# How far its neighbours can draw a region from the middle of its cell, in cells: at
# most to the cell's border, so that the region explains the cell.
REACH = 0.5
# The largest factor by which training enlarges or shrinks the initial size.
MAX_RESIZE = 3.0
NO_SCORE = -1e9


class Evidence(NamedTuple):
    """The evidence of a feature map for the labels.

    Args:
        scores: `(B, H W, L)` float32, in row-major order: a linear classifier's scores
            of the mean of each cell and its neighbours.
        whole: `(B, L)` its scores of the mean of all cells.
        height: H.
        width: W.
    """

    scores: tf.Tensor
    whole: tf.Tensor
    height: int | tf.Tensor
    width: int | tf.Tensor


class Explained(NamedTuple):
    """The evidence that the regions so far contain.

    Args:
        scores: `(B, L)` the largest evidence of each label in the middle of a region;
            at first that of the whole map.
        covers: `(B, H W)` the number of regions that each cell lies in.
    """

    scores: tf.Tensor
    covers: tf.Tensor


@keras.saving.register_keras_serializable(package="ram_tf")
class ContentLocalization(keras.layers.Layer):
    """Places the next region where the map has most evidence that is not explained yet.

    Evidence `e` is a linear classifier applied to each cell of the map, as in a class
    activation map, averaged over the cell and its neighbours. Let `p` be the
    probabilities of the labels, computed from `z_k`, and `m` the largest evidence of
    each label in the middle of the regions so far, including the whole map. A region in
    the middle of cell c would raise the largest evidence of the labels by::

        gain(c) = sum over l of p_l relu(e_l(c) - m_l)

    The next region lies at the cell of the largest gain. So labels in one place share a
    region, and no region repeats evidence that an earlier one contains. If no cell has
    a gain, the region lies at the cell of the largest evidence outside all earlier
    regions, as long as there is one.

    The choice of the cell has no gradient. Within the cell, the region is drawn towards
    those neighbours that match a query better: the sum of the kernels of the labels
    with a gain there, each weighted by its p. To this, training adds a linear layer of
    `z_k`, as in Eq. 5, which starts at zero: with `a = W_zm z_k / sqrt(units) + b_m`,
    each size is `scale * 3^tanh(a)`, and the centre is moved by `scale * tanh(a)`.

    Args:
        num_labels: L.
        units: Width of `z_k`.
        rank: Rank of the kernel's factors: evidence is `cells @ (D, rank) @ (rank, L)`;
            L or more for a kernel that is not factored.
        scale: The initial size of regions, as a share of the map's edge.
        resizes: Whether sizes are trained.

    Reference:
        Greedy maximum coverage: Nemhauser et al., An analysis of approximations for
        maximizing submodular set functions, 1978. Regions from class activation maps:
        Gao and Zhou, Learning to Discover Multi-Class Attentional Regions for
        Multi-Label Image Recognition, 2021; theirs are of the most probable labels, one
        each.
    """

    def __init__(self, num_labels, units, rank, scale, resizes=True, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.num_labels = num_labels
        self.units = units
        self.rank = min(rank, num_labels)
        self.scale = scale
        self.resizes = resizes

    def build(self, features_shape):
        def weight(name, shape, initializer="glorot_uniform"):
            # float32, which Keras would cast to the features' type.
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                dtype="float32",
                autocast=False,
            )

        self.cell_kernel = weight("W_cell", (features_shape[-1], self.rank))
        self.label_kernel = None
        if self.rank < self.num_labels:
            self.label_kernel = weight("W_label", (self.rank, self.num_labels))
        self.query_kernel = weight("W_query", (self.units, self.rank))
        self.query_bias = weight("b_query", (self.num_labels,), "zeros")
        numbers = 4 if self.resizes else 2
        self.move_kernel = weight("W_zm", (self.units, numbers), "zeros")
        self.move_bias = weight("b_m", (numbers,), "zeros")

    def start_as(self, factors, bias, readout):
        """Initialises evidence and probabilities from a linear classifier.

        Args:
            factors: The pair of `(D, rank)` and `(rank, L)` whose product is the
                classifier's kernel.
            bias: `(L,)` of the classifier.
            readout: `(units, rank)`, maps `z_k` to the product of the whole map's
                features and the first factor.
        """
        self.cell_kernel.assign(factors[0])
        if self.label_kernel is not None:
            self.label_kernel.assign(factors[1])
        self.query_kernel.assign(readout)
        self.query_bias.assign(bias)

    def read(self, features):
        """Computes the `Evidence` of a map `(B, H, W, D)` of any float type."""
        # In half precision, cells that differ could be equal.
        features = tf.cast(features, tf.float32)
        shape = tf.shape(features)
        height = features.shape[1] or shape[1]
        width = features.shape[2] or shape[2]
        codes = tf.nn.conv2d(features, self.cell_kernel[None, None], 1, "VALID")
        whole = tf.reduce_mean(codes, [1, 2])
        codes = mean_of_neighbours(codes)
        codes = tf.reshape(codes, [-1, height * width, self.rank])
        return Evidence(self._of_labels(codes), self._of_labels(whole), height, width)

    def begin(self, evidence):
        """Returns what is `Explained` before the first region: the whole map."""
        covers = tf.zeros_like(evidence.scores[..., 0])
        return Explained(tf.stop_gradient(evidence.whole), covers)

    def locate(self, z, evidence, explained):
        """Finds the next region.

        Args:
            z: `(B, units)` the state `z_k`, of any float type.
            evidence: The `Evidence` of the map.
            explained: What is `Explained` so far.

        Returns:
            `(B, 4)` float32 theta: `s_x, s_y, t_x, t_y`.
        """
        z = tf.cast(z, tf.float32)
        scores = self._of_labels(tf.matmul(z, self.query_kernel)) + self.query_bias
        probabilities = tf.sigmoid(scores)
        row, column, gained = self._choose(probabilities, evidence, explained)
        query = (gained * probabilities)[..., None]
        match = tf.matmul(evidence.scores, query)[..., 0]  # (B, H W)
        rows, columns = _cells(evidence)
        near = (tf.abs(rows - row) <= 1) & (tf.abs(columns - column) <= 1)
        weights = tf.nn.softmax(tf.where(near, match, NO_SCORE))
        centre = [
            _middle(columns, column, weights, evidence.width),
            _middle(rows, row, weights, evidence.height),
        ]
        change = tf.matmul(z, self.move_kernel) / self.units**0.5 + self.move_bias
        change = tf.tanh(change)
        centre = tf.stack(centre, -1) + self.scale * change[:, -2:]
        size = tf.fill(tf.shape(centre), self.scale)
        if self.resizes:
            size *= MAX_RESIZE ** change[:, :2]
        return tf.concat([size, centre], -1)

    def explain(self, theta, evidence, explained):
        """Returns what is `Explained` after the region theta, `(B, 4)`."""
        s_x, s_y, t_x, t_y = tf.unstack(tf.stop_gradient(theta), axis=-1)
        scores = tf.stop_gradient(evidence.scores)
        # A little more than half a cell, so that there is always a middle cell.
        middle = _near(evidence, t_x, t_y, REACH + 1e-3, REACH + 1e-3)
        contained = tf.where(middle[..., None], scores, NO_SCORE)
        reach_x = s_x * tf.cast(evidence.width, tf.float32) / 2.0
        reach_y = s_y * tf.cast(evidence.height, tf.float32) / 2.0
        inside = _near(evidence, t_x, t_y, reach_x[:, None], reach_y[:, None])
        return Explained(
            tf.maximum(explained.scores, tf.reduce_max(contained, 1)),
            explained.covers + tf.cast(inside, tf.float32),
        )

    def _choose(self, probabilities, evidence, explained):
        """Chooses the next cell.

        Returns:
            Its row and column `(B, 1)`, and `(B, L)` 1 for labels with a gain there,
            or for all labels if none has one.
        """
        weights = tf.stop_gradient(probabilities)[..., None]
        scores = tf.stop_gradient(evidence.scores)
        new = tf.nn.relu(scores - explained.scores[:, None])
        gain = tf.matmul(new, weights)[..., 0]
        remaining = tf.matmul(scores, weights)[..., 0]
        remaining -= tf.reduce_min(remaining, -1, keepdims=True)
        # A cell inside a region ranks below all cells outside.
        largest = tf.reduce_max(remaining, -1, keepdims=True) + 1.0
        remaining -= 2.0 * largest * explained.covers
        cell = first_largest(gain + REMAINING * remaining)  # (B,)
        chosen = tf.one_hot(cell, evidence.height * evidence.width)
        gained = tf.cast(tf.matmul(chosen[:, None], new)[:, 0] > 0, tf.float32)
        nothing = tf.reduce_max(gained, -1, keepdims=True) <= 0
        gained = tf.where(nothing, tf.ones_like(gained), gained)
        cell = cell[:, None]
        return cell // evidence.width, cell % evidence.width, gained

    def _of_labels(self, codes):
        if self.label_kernel is None:
            return codes
        return tf.matmul(codes, self.label_kernel)

    def get_config(self):
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "units": self.units,
            "rank": self.rank,
            "scale": self.scale,
            "resizes": self.resizes,
        }


def _cells(evidence):
    """Returns the rows and columns of all cells, `(1, H W)` integers each."""
    cells = tf.range(evidence.height * evidence.width)[None]
    return cells // evidence.width, cells % evidence.width


def _middle(places, cell, weights, edge):
    """Computes a region's centre along an axis: `(B,)` in [-1, 1].

    Args:
        places: `(1, H W)` rows or columns of all cells.
        cell: `(B, 1)` row or column of the chosen cell.
        weights: `(B, H W)` how strongly each cell draws the centre.
        edge: Number of rows or columns.
    """
    drawn = tf.reduce_sum(weights * tf.cast(places - cell, tf.float32), -1)
    middle = tf.cast(cell[:, 0], tf.float32) + 0.5 + REACH * drawn
    return 2.0 * middle / tf.cast(edge, tf.float32) - 1.0


def _near(evidence, t_x, t_y, reach_x, reach_y):
    """Returns the cells whose centre is within reach of a point: `(B, H W)` bool."""
    near = True
    for places, edge, translation, reach in zip(
        _cells(evidence),
        (evidence.height, evidence.width),
        (t_y, t_x),
        (reach_y, reach_x),
        strict=True,
    ):
        edge = tf.cast(edge, tf.float32)
        point = (translation * edge + edge - 1.0)[:, None] / 2.0
        near &= tf.abs(tf.cast(places, tf.float32) - point) <= reach
    return near
