"""The losses that training minimises: Eq. 14 for RDAR, the policy gradient for RARL."""

import dataclasses

import tensorflow as tf

from ram_tf.models import losses, policy_gradient


@dataclasses.dataclass(frozen=True)
class Objective:
    """What training minimises: Eq. 14, `L_cls + gamma * L_loc`.

    Args:
        loss: A key of `losses.CLASSIFICATION`; the paper's is "euclidean".
        gamma: Weight of the localisation loss.
        lambda_anchor: lambda_1 of Eq. 13.
        lambda_positive: lambda_2 of Eq. 13.
        alpha: Largest free scale, Eq. 11.
        beta: Smallest free scale, Eq. 12.
        constraints: Letters of the constraints in force: A anchor, S scale, P positive.
    """

    loss: str = "euclidean"
    gamma: float = 0.1
    lambda_anchor: float = 0.01
    lambda_positive: float = 0.1
    alpha: float = 0.5
    beta: float = 0.1
    constraints: str = "ASP"

    def terms(self, labels, outputs):
        """The weighted terms of the loss by name; training minimises their sum."""
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
    """What training of RARL minimises: `L_cls + lambda_r L_reinforce + lambda_b L_b`.

    An image's M episodes count as images of their own: every term is a mean over them.

    Args:
        loss: A key of `losses.CLASSIFICATION`.
        lambda_reinforce: Weight of the policy gradient.
        lambda_baseline: Weight of the baseline's squared error.
    """

    loss: str = "euclidean"
    lambda_reinforce: float = 1.0
    lambda_baseline: float = 1.0

    def terms(self, labels, outputs):
        """The weighted terms of the loss by name; training minimises their sum.

        Without log-probabilities, as where nothing is sampled, it is the classification
        loss alone.
        """
        labels, episodes = _of_episodes(labels, outputs)
        classification = losses.CLASSIFICATION[self.loss]
        terms = {"classification": classification(labels, outputs["scores"])}
        if "log_probabilities" in outputs:
            rewards = policy_gradient.reward(labels, outputs["scores"])
            learnt = rewards, outputs["baselines"]
            counted = policy_gradient.has_labels(labels)
            terms["reinforce"] = self.lambda_reinforce * policy_gradient.policy_loss(
                *learnt, outputs["log_probabilities"], counted, episodes
            )
            terms["baseline"] = self.lambda_baseline * policy_gradient.baseline_loss(
                *learnt, counted
            )
        return terms

    def figures(self, labels, outputs):
        """What is shown of the agent, by name: means over the images with labels.

        These are the `reward`, and where episodes were sampled the `advantage` R - b_t,
        which is 0 on average for a fair baseline, and the `baseline_error` |R - b_t|.
        """
        labels, _ = _of_episodes(labels, outputs)
        rewards = policy_gradient.reward(labels, outputs["scores"])
        counted = tf.cast(policy_gradient.has_labels(labels), tf.float32)
        figures = {"reward": rewards}
        if "baselines" in outputs:
            advantage = rewards[:, None] - outputs["baselines"]
            figures["advantage"] = tf.reduce_mean(advantage, -1)
            figures["baseline_error"] = tf.reduce_mean(tf.abs(advantage), -1)
        return {
            name: tf.math.divide_no_nan(
                tf.reduce_sum(counted * values), tf.reduce_sum(counted)
            )
            for name, values in figures.items()
        }


def _of_episodes(labels, outputs):
    """The labels of each row, and how many rows, its episodes, an image has."""
    labels = tf.convert_to_tensor(labels)
    episodes = tf.shape(outputs["scores"])[0] // tf.shape(labels)[0]
    return tf.repeat(labels, episodes, axis=0), episodes
