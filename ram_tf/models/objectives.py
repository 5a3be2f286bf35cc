"""The losses that training minimises: Eq. 14 for RDAR, the policy gradient for RARL."""

import dataclasses

import tensorflow as tf

from ram_tf.models import losses, policy_gradient


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of RDAR: Eq. 14, `L_cls + gamma * L_loc`.

    Args:
        loss: A key of `losses.CLASSIFICATION`; the paper uses "euclidean".
        gamma: Weight of the localisation loss.
        lambda_anchor: lambda_1 of Eq. 13.
        lambda_positive: lambda_2 of Eq. 13.
        alpha: Largest scale without a cost, Eq. 11.
        beta: Smallest scale without a cost, Eq. 12.
        constraints: Letters of the active constraints: A anchor, S scale, P positive.
    """

    loss: str = "euclidean"
    gamma: float = 0.1
    lambda_anchor: float = 0.01
    lambda_positive: float = 0.1
    alpha: float = 0.5
    beta: float = 0.1
    constraints: str = "ASP"

    def terms(self, labels, outputs):
        """Computes the weighted terms of the loss by name; the loss is their sum."""
        classification = losses.CLASSIFICATION[self.loss]
        terms = {"classification": classification(labels, outputs["scores"])}
        if "regions" in outputs:
            terms["localization"] = self.gamma * losses.localization(
                outputs["regions"],
                self.lambda_anchor,
                self.lambda_positive,
                self.alpha,
                self.beta,
                self.constraints,
            )
        return terms


@dataclasses.dataclass(frozen=True)
class ReinforceObjective:
    """The loss of RARL: `L_cls + lambda_r L_reinforce + lambda_b L_b`.

    Each of an image's M episodes counts as an image: every term is a mean over
    episodes.

    Args:
        loss: A key of `losses.CLASSIFICATION`.
        lambda_reinforce: Weight of the policy gradient.
        lambda_baseline: Weight of the baseline's squared error.
    """

    loss: str = "euclidean"
    lambda_reinforce: float = 1.0
    lambda_baseline: float = 1.0

    def terms(self, labels, outputs):
        """Computes the weighted terms of the loss by name; the loss is their sum.

        Without log-probabilities, when nothing is sampled, it is the classification
        loss only.
        """
        labels, episodes = _repeat_for_episodes(labels, outputs)
        classification = losses.CLASSIFICATION[self.loss]
        terms = {"classification": classification(labels, outputs["scores"])}
        if "log_probabilities" in outputs:
            rewards = policy_gradient.reward(labels, outputs["scores"])
            baselines = outputs["baselines"]
            counted = policy_gradient.has_labels(labels)
            terms["reinforce"] = self.lambda_reinforce * policy_gradient.policy_loss(
                rewards, baselines, outputs["log_probabilities"], counted, episodes
            )
            terms["baseline"] = self.lambda_baseline * policy_gradient.baseline_loss(
                rewards, baselines, counted
            )
        return terms

    def extra_metrics(self, labels, outputs):
        """Computes the agent's metrics by name: means over the images with labels.

        These are the `reward`, and if episodes were sampled the `advantage` R - b_t,
        which is 0 on average for an unbiased baseline, and the `baseline_error`
        |R - b_t|.
        """
        labels, _ = _repeat_for_episodes(labels, outputs)
        rewards = policy_gradient.reward(labels, outputs["scores"])
        counted = tf.cast(policy_gradient.has_labels(labels), tf.float32)
        metrics = {"reward": rewards}
        if "baselines" in outputs:
            advantage = rewards[:, None] - outputs["baselines"]
            metrics["advantage"] = tf.reduce_mean(advantage, -1)
            metrics["baseline_error"] = tf.reduce_mean(tf.abs(advantage), -1)
        return {
            name: tf.math.divide_no_nan(
                tf.reduce_sum(counted * values), tf.reduce_sum(counted)
            )
            for name, values in metrics.items()
        }


def _repeat_for_episodes(labels, outputs):
    """Repeats labels for each episode; returns them and the episodes per image."""
    labels = tf.convert_to_tensor(labels)
    episodes = tf.shape(outputs["scores"])[0] // tf.shape(labels)[0]
    return tf.repeat(labels, episodes, axis=0), episodes
