"""Finds the next region by what the feature map shows (ours; Eq. 5 does not see it)."""

from typing import NamedTuple

import keras
import tensorflow as tf

from ram_tf.evidence import mean_of_neighbours

# Weight of the evidence that is left beside that which is new. Small, so that it counts
# once the regions looked at have explained all that is probable.
LEFT = 0.01
# In units of a score: how much better a neighbour has to match to draw the region.
TEMPERATURE = 1.0
# How far a region's centre may lie from the middle of the chosen cell, in cells: on the
# cell's border at most, so that the cell is explained by it.
REACH = 0.5
NOWHERE = -1e9


class Evidence(NamedTuple):
    """What the cells of a map show of the labels.

    Args:
        scores: `(B, H W, L)` float32, row after row: a linear classifier's scores of
            the mean of each cell and its neighbours.
        height: H.
        width: W.
    """

    scores: tf.Tensor
    height: int | tf.Tensor
    width: int | tf.Tensor


class Explained(NamedTuple):
    """What the regions looked at have shown.

    Args:
        scores: `(B, L)` the largest evidence of each label in the middles of them; at
            first that of the whole map.
        covers: `(B, H W)` how many of them each cell lies in.
    """

    scores: tf.Tensor
    covers: tf.Tensor


@keras.saving.register_keras_serializable(package="ram_tf")
class ContentLocalization(keras.layers.Layer):
    """Puts the next region where the map shows most that is not explained yet.

    Evidence `e` is a linear classifier applied to each cell of the map, as in a class
    activation map, averaged over the cell and its neighbours. With `p` the
    probabilities of the labels, which are read off `z_k`, and `m` the largest evidence
    of each label in the middle of a region looked at, the whole map among them, a look
    at cell c would add::

        gain(c) = sum over l of p_l relu(e_l(c) - m_l)

    to what Eq. 6 takes the maximum of. The next region lies at the cell of the largest
    gain, the first of equal ones: the best next step towards regions that together
    explain all that is probable, which takes one region for labels in one place, and
    does not return to it. Where nothing is to be gained, it lies at the most evidence
    that is apart from the regions looked at.

    The largest gain chooses the cell and the labels looked for, and has no gradient.
    From there `z_k` asks the map a query: the sum of the kernels of these labels, each
    by its p. The match between query and cells draws the region's centre, which lies
    half of the way from the chosen cell to the expected position under a softmax of the
    match over that cell and its neighbours; two peaks are never averaged. Its gradient
    reaches `z_k`, the kernels and the features: so training moves regions. Sizes are
    learnt, too: `s = scale * exp(W_size z_k + b_size)`, which cannot be negative.

    Args:
        num_labels: L.
        units: Width of `z_k`.
        rank: Width of the kernels' factor: evidence is `cells @ (D, rank) @ (rank, L)`,
            exact where it is L or more, and then not factored.
        scale: What sizes start from, as a share of the map's edge.

    Reference:
        The gain is that of greedy maximum coverage: Nemhauser et al., An analysis of
        approximations for maximizing submodular set functions, 1978. Regions from class
        maps: Gao and Zhou, Learning to Discover Multi-Class Attentional Regions for
        Multi-Label Image Recognition, 2021, who take the best labels' maps one by one.
    """

    def __init__(self, num_labels, units, rank, scale, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.num_labels = num_labels
        self.units = units
        self.rank = min(rank, num_labels)
        self.scale = scale

    def build(self, channels):
        # Which region is next is decided in float32, as where it lies.
        def weight(name, shape, initializer="glorot_uniform"):
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                dtype="float32",
                autocast=False,
            )

        self.cell_kernel = weight("W_cell", (channels, self.rank))
        self.label_kernel = None
        if self.rank < self.num_labels:
            self.label_kernel = weight("W_label", (self.rank, self.num_labels))
        self.query_kernel = weight("W_query", (self.units, self.rank))
        self.query_bias = weight("b_query", (self.num_labels,), "zeros")
        # Sizes start as `scale` says.
        self.size_kernel = weight("W_size", (self.units, 2), "zeros")
        self.size_bias = weight("b_size", (2,), "zeros")

    def start_as(self, kernel, bias, readout):
        """Starts it from step 1's classifier: its evidence, its probabilities.

        Args:
            kernel: The pair of `(D, rank)` and `(rank, L)` whose product is the
                classifier's kernel.
            bias: `(L,)` of the classifier.
            readout: `(units, rank)`, what makes of `z_k` the product of the whole map's
                features and the first factor.
        """
        self.cell_kernel.assign(kernel[0])
        if self.label_kernel is not None:
            self.label_kernel.assign(kernel[1])
        self.query_kernel.assign(readout)
        self.query_bias.assign(bias)
        self.size_kernel.assign(tf.zeros_like(self.size_kernel))
        self.size_bias.assign(tf.zeros_like(self.size_bias))

    def read(self, features):
        """Reads a map: `(B, H, W, D)` of any float type to its `Evidence`."""
        shape = tf.shape(features)
        height = features.shape[1] or shape[1]
        width = features.shape[2] or shape[2]
        kernel = tf.cast(self.cell_kernel, features.dtype)
        codes = tf.nn.conv2d(features, kernel[None, None], 1, "VALID")
        codes = mean_of_neighbours(tf.cast(codes, tf.float32))
        codes = tf.reshape(codes, [-1, height * width, self.rank])
        return Evidence(self._of_labels(codes), height, width)

    def begin(self, evidence):
        """What is `Explained` before the first region: the whole map."""
        return Explained(
            tf.stop_gradient(tf.reduce_mean(evidence.scores, 1)),
            tf.zeros_like(evidence.scores[..., 0]),
        )

    def locate(self, z, evidence, explained):
        """Where to look next.

        Args:
            z: `(B, units)` the state `z_k`, of any float type.
            evidence: The `Evidence` of the map.
            explained: What is `Explained` so far.

        Returns:
            `(B, 4)` float32 theta: `s_x, s_y, t_x, t_y`.
        """
        z = tf.cast(z, tf.float32)
        asked = self._of_labels(tf.matmul(z, self.query_kernel)) + self.query_bias
        probabilities = tf.sigmoid(asked)
        row, column, wanted = self._choose(probabilities, evidence, explained)
        query = wanted * probabilities
        query = tf.math.divide_no_nan(query, tf.reduce_sum(query, -1, keepdims=True))
        match = tf.matmul(evidence.scores, query[..., None])[..., 0]  # (B, H W)
        rows, columns = _cells(evidence)
        near = (tf.abs(rows - row) <= 1) & (tf.abs(columns - column) <= 1)
        # Asked this way round a NaN is not far: it must reach the loss to be seen.
        drawn = tf.nn.softmax(tf.where(near, match / TEMPERATURE, NOWHERE))
        centre = []
        for cells, cell, edge in (
            (columns, column, evidence.width),
            (rows, row, evidence.height),
        ):
            offset = tf.cast(cells - cell, tf.float32)
            middle = tf.cast(cell[:, 0], tf.float32) + 0.5
            middle += REACH * tf.reduce_sum(drawn * offset, -1)
            centre.append(2.0 * middle / tf.cast(edge, tf.float32) - 1.0)
        size = self.scale * tf.exp(tf.matmul(z, self.size_kernel) + self.size_bias)
        return tf.concat([size, tf.stack(centre, -1)], -1)

    def explain(self, theta, evidence, explained):
        """What is `Explained` after a look at a region, `(B, 4)`."""
        s_x, s_y, t_x, t_y = tf.unstack(tf.stop_gradient(theta), axis=-1)
        scores = tf.stop_gradient(evidence.scores)
        middle = _near(evidence, t_x, t_y, REACH + 1e-3, REACH + 1e-3)
        shown = tf.where(middle[..., None], scores, NOWHERE)
        reach_x = tf.abs(s_x) * tf.cast(evidence.width, tf.float32) / 2.0
        reach_y = tf.abs(s_y) * tf.cast(evidence.height, tf.float32) / 2.0
        inside = _near(evidence, t_x, t_y, reach_x[:, None], reach_y[:, None])
        return Explained(
            tf.maximum(explained.scores, tf.reduce_max(shown, 1)),
            explained.covers + tf.cast(inside, tf.float32),
        )

    def _choose(self, probabilities, evidence, explained):
        """Row and column `(B, 1)` of the next cell, and `(B, L)` 1 for labels wanted.

        All without gradients.
        """
        weights = tf.stop_gradient(probabilities)[..., None]
        scores = tf.stop_gradient(evidence.scores)
        new = tf.nn.relu(scores - explained.scores[:, None])
        gain = tf.matmul(new, weights)[..., 0]
        least = tf.reduce_min(scores, 1, keepdims=True)
        left = tf.matmul(scores - least, weights)[..., 0]
        # Nothing in a region looked at is worth as much as anything outside.
        most = tf.reduce_max(left, -1, keepdims=True) + 1.0
        worth = gain + LEFT * (left - 2.0 * most * explained.covers)
        cell = tf.argmax(worth, -1, output_type=tf.int32)[:, None]
        chosen = tf.one_hot(cell, evidence.height * evidence.width)  # (B, 1, H W)
        wanted = tf.cast(tf.matmul(chosen, new)[:, 0] > 0, tf.float32)
        # All labels, where the cell is the best of what is left.
        none = tf.reduce_max(wanted, -1, keepdims=True) <= 0
        wanted = tf.where(none, tf.ones_like(wanted), wanted)
        return cell // evidence.width, cell % evidence.width, wanted

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
        }


def _cells(evidence):
    """The rows and columns of all cells, `(1, H W)` integers each."""
    cells = tf.range(evidence.height * evidence.width)[None]
    return cells // evidence.width, cells % evidence.width


def _near(evidence, t_x, t_y, reach_x, reach_y):
    """Which cells have their middle so many cells from a point, `(B, H W)`."""
    near = True
    for cells, edge, translation, reach in zip(
        _cells(evidence),
        (evidence.height, evidence.width),
        (t_y, t_x),
        (reach_y, reach_x),
        strict=True,
    ):
        edge = tf.cast(edge, tf.float32)
        place = (translation * edge + edge - 1.0)[:, None] / 2.0
        near &= tf.abs(tf.cast(cells, tf.float32) - place) <= reach
    return near
