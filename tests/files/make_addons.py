"""Makes addons.npz: values of tensorflow-addons 0.23.0 on TensorFlow 2.15.1.

That is the last pair of releases that can be imported together:

    python3.11 -m venv .venv-addons
    .venv-addons/bin/pip install tensorflow==2.15.1 tensorflow-addons==0.23.0 "numpy<2"
    .venv-addons/bin/python tests/files/make_addons.py tests/files/addons.npz
"""

import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa


def resampled(random):
    """Points inside and outside of maps, and the gradients of their squares' sum."""
    images = random.normal(size=(3, 7, 9, 4)).astype("float32")
    x = random.uniform(-2, 10, (3, 5, 6))
    y = random.uniform(-2, 8, (3, 5, 6))
    warp = np.stack([x, y], -1).astype("float32")  # in cells
    sources = tf.constant(images), tf.constant(warp)
    with tf.GradientTape() as tape:
        tape.watch(sources)
        output = tfa.image.resampler(*sources)
        loss = tf.reduce_sum(output * output)
    of_images, of_warp = tape.gradient(loss, sources)
    return {
        "resampler_images": images,
        "resampler_warp": warp,
        "resampler_output": output.numpy(),
        "resampler_grad_images": of_images.numpy(),
        "resampler_grad_warp": of_warp.numpy(),
    }


def crops(random):
    """Regions `s_x, s_y, t_x, t_y` of maps, with aligned corners: -1 and 1 are cells'.

    The point of `u` in [-1, 1] is `(s_x u + t_x + 1) (W - 1) / 2`.
    """
    theta = np.array(
        [
            [1, 1, 0, 0],
            [0.5, 0.5, 0.25, -0.25],
            [0.3, 0.8, 0.7, 0.5],
            [-0.6, 0.4, 0, 0.1],
            [1.5, 1.2, 0.4, -0.3],
        ],
        "float32",
    )
    maps = random.normal(size=(5, 8, 10, 3)).astype("float32")
    u = np.linspace(-1, 1, 6, dtype="float32")
    x = (theta[:, 0, None] * u + theta[:, 2, None] + 1) * (10 - 1) / 2
    y = (theta[:, 1, None] * u + theta[:, 3, None] + 1) * (8 - 1) / 2
    grid = np.broadcast_arrays(x[:, None, :], y[:, :, None])
    grid = np.stack(grid, -1).astype("float32")
    output = tfa.image.resampler(maps, grid).numpy()
    return {"crop_maps": maps, "crop_theta": theta, "crop_output": output}


def metrics(random):
    """F1, the confusion matrix, the Hamming loss and the focal loss of 40 images."""
    scores = random.uniform(size=(40, 6)).astype("float32")
    labels = (random.uniform(size=(40, 6)) < 0.3).astype("float32")
    arrays = {"metric_scores": scores, "metric_labels": labels}
    for average in ("micro", "macro", "weighted"):
        metric = tfa.metrics.F1Score(6, average=average, threshold=0.5)
        metric.update_state(labels, scores)
        arrays[f"f1_{average}"] = metric.result().numpy()
    metric = tfa.metrics.MultiLabelConfusionMatrix(6)
    metric.update_state(labels.astype("int32"), (scores > 0.5).astype("int32"))
    arrays["confusion"] = metric.result().numpy()
    metric = tfa.metrics.HammingLoss("multilabel", threshold=0.5)
    metric.update_state(labels, scores)
    arrays["hamming"] = metric.result().numpy()
    focal = tfa.losses.sigmoid_focal_crossentropy(labels, scores, alpha=0.25, gamma=2.0)
    return {**arrays, "focal": focal.numpy()}


if __name__ == "__main__":
    generator = np.random.default_rng(20261120)
    parts = [make(generator) for make in (resampled, crops, metrics)]
    np.savez(sys.argv[1], **{k: v for part in parts for k, v in part.items()})
