"""The policy gradient of RARL: reward, log-probability and the two terms of its loss.

An episode is one sequence of T sampled locations for one image; its reward is given
after the last one and counts for each of them (gamma = 1). docs/rarl.md lists what is
from the paper and what is ours.
"""

import math

import tensorflow as tf


def reward(labels, scores):
    """Computes the share of the n present labels among the n best: `|g & p| / n`.

    Only known labels are ranked (ours); of equal scores the earlier label comes first.

    Args:
        labels: `(B, L)` 1 present, 0 absent, -1 unknown, of any number type.
        scores: `(B, L)` of any float type, fused over all regions.

    Returns:
        `(B,)` float32 in [0, 1]; 0 for an image without present labels. It has no
        gradient.
    """
    labels, scores = tf.cast(labels, tf.float32), tf.cast(scores, tf.float32)
    scores = tf.where(labels >= 0, scores, -math.inf)
    present = tf.cast(labels > 0, tf.float32)
    count = tf.reduce_sum(present, -1, keepdims=True)  # (B, 1)
    places = scores.shape[1]
    best = tf.math.top_k(tf.stop_gradient(scores), places).indices  # (B, L)
    correct = tf.gather(present, best, batch_dims=1)
    chosen = tf.range(places, dtype=tf.float32) < count
    correct = tf.reduce_sum(tf.where(chosen, correct, 0.0), -1)
    return tf.math.divide_no_nan(correct, count[:, 0])


def has_labels(labels):
    """Returns for each image whether it has a present label: `(B,)` bool."""
    return tf.reduce_any(tf.convert_to_tensor(labels) > 0, -1)


def log_probability(locations, means, sigma):
    """Computes the log density of locations under the policy, a Gaussian.

    Args:
        locations: `(..., 2)` as sampled, before clipping. They are constants: only the
            means get a gradient, `(location - mean) / sigma^2`.
        means: `(..., 2)`.
        sigma: Standard deviation along each axis, more than 0.

    Returns:
        `(...)` float32.
    """
    distance = (tf.stop_gradient(locations) - means) / sigma
    constant = math.log(2 * math.pi * sigma**2)  # of both axes together
    return -0.5 * tf.reduce_sum(tf.square(distance), -1) - constant


def advantages(rewards, baselines, episodes=1):
    """Computes by how much each episode's reward exceeds its expected reward.

    It is `R - b_t`, less the mean of the same over the image's other episodes (ours,
    because rewards of the same image predict the expected reward far better than b_t,
    which is one number for a state; the gradient stays unbiased, as other episodes are
    sampled independently of this one).

    Args:
        rewards: `(B M,)`, the M episodes of an image one after another.
        baselines: `(B M, T)` b_t, the expected rewards; constants here.
        episodes: M; with 1 it is `R - b_t`.

    Returns:
        `(B M, T)`.
    """
    own = rewards[:, None] - tf.stop_gradient(baselines)
    by_image = tf.reshape(own, [-1, episodes, own.shape[1]])
    others = tf.reduce_sum(by_image, 1, keepdims=True) - by_image
    others = tf.math.divide_no_nan(others, tf.cast(episodes - 1, tf.float32))
    return tf.reshape(by_image - others, tf.shape(own))


def policy_loss(rewards, baselines, log_probabilities, counted, episodes=1):
    """Computes a loss whose gradient is the negative REINFORCE estimate.

    Args:
        rewards: `(B M,)` of each episode.
        baselines: `(B M, T)`, see `advantages`.
        log_probabilities: `(B M, T)` of the locations.
        counted: `(B M,)` bool: whether the image has a present label. Others count as
            0, and are still among the episodes that the sum is divided by, as in
            `losses.euclidean`.
        episodes: M, of each image.

    Returns:
        A scalar: minus the mean over episodes of `sum_t log pi(l_t) A_t`, with the
        `advantages` A_t.
    """
    advantage = advantages(rewards, baselines, episodes)
    gain = tf.reduce_sum(log_probabilities * advantage, -1)
    return -tf.reduce_mean(tf.where(counted, gain, 0.0))


def baseline_loss(rewards, baselines, counted):
    """Computes the mean squared error `(R - b_t)^2` of the expected reward.

    Its arguments are those of `policy_loss`. It returns a scalar: the mean over the
    steps of an episode, then over episodes.
    """
    error = tf.reduce_mean(tf.square(rewards[:, None] - baselines), -1)
    return tf.reduce_mean(tf.where(counted, error, 0.0))
