"""Builds a backbone, which maps images to the feature map `f_I` of the regions.

Every backbone takes images in [0, 255] and applies the preprocessing that its ImageNet
weights were trained with.
"""

import pathlib
import warnings

import keras

from ram_tf.data import progress
from ram_tf.models.backbones import BACKBONES


def build(name, weights="imagenet", frozen=0.0):
    """Builds a backbone as a separate Keras model.

    Args:
        name: A key of `BACKBONES`; "small" is the convolutional network for `digits`.
        weights: "imagenet" (downloaded by Keras; "small" has none), "none", or a
            weights file of this network in either of Keras' formats. A file of VGG-16
            may include its top.
        frozen: Share of the network's layers, counted from the image, that training
            does not change.

    Returns:
        A `keras.Model` named "backbone", from images `(B, H, W, 3)` in [0, 255] to
        features `(B, H / stride, W / stride, C)`; H and W may be unknown.

    Raises:
        ValueError: The name is unknown, or the weights do not fit.
        FileNotFoundError: The weights file does not exist.
        ConnectionError: The ImageNet weights cannot be downloaded.
    """
    if name not in BACKBONES:
        raise ValueError(
            f"Unknown backbone. Expected one of: {', '.join(BACKBONES)}. "
            f"Received: {name!r}"
        )
    network = _small() if name == "small" else _application(name, weights)
    if weights not in ("imagenet", "none"):
        _load_with_or_without_top(network, name, weights)
    if BACKBONES[name].layer:
        output = network.get_layer(BACKBONES[name].layer).output
        network = keras.Model(network.input, output, name=network.name)
    for layer in network.layers[: int(frozen * len(network.layers))]:
        layer.trainable = False
    images = keras.Input((None, None, 3), name="images")
    features = network(BACKBONES[name].scaling(images))
    return _InferenceModel(images, features, name="backbone")


class _InferenceModel(keras.Model):
    """A model that always runs in inference mode, also inside a model in training.

    Batch normalisation keeps ImageNet's statistics, which are better than those of
    sixteen crops. (`network(images, training=False)` is not enough: Keras 3 passes the
    mode of the outermost call to all layers.)
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


def hidden_layer(name, weights, shape):
    """Reads the first fully connected layer of a network, to initialise a head from.

    Args:
        name: A key of `BACKBONES`.
        weights: As for `build`.
        shape: Shape of the head's kernel. VGG-16's fc6 maps 7x7 cells to 4096 units.

    Returns:
        Kernel and bias; None where the network or the weights file has no layer of
        that shape. Errors are those of `build`.
    """
    layer, layer_shape = BACKBONES[name].hidden or (None, None)
    if weights == "none" or layer_shape != tuple(shape):
        return None
    network = _application(name, weights, top=True)
    if weights != "imagenet":
        try:
            _load(network, name, weights)
        except ValueError:
            return None
    return network.get_layer(layer).get_weights()


def _application(name, weights, top=False):
    try:
        # Keras warns when it uses the weights of 224 x 224 for images of any size.
        with (
            warnings.catch_warnings(action="ignore", category=UserWarning),
            progress.only_lines(),
        ):
            return BACKBONES[name].application(
                weights="imagenet" if weights == "imagenet" else None,
                include_top=top,
                input_shape=(224, 224, 3) if top else (None, None, 3),
            )
    except Exception as error:
        # Keras raises a bare Exception where a download fails.
        if "fetch failure" not in str(error):
            raise
        raise ConnectionError(
            f"The ImageNet weights of {name} cannot be downloaded. Expected a network "
            f"connection, `--weights FILE` or `--weights none`. Received: {error}"
        ) from error


def _small():
    """Builds three convolutions, each halving the map, and one of 1x1 (ours).

    A cell has a receptive field of 22 pixels, less than the height of the smallest
    digit: a digit can only be recognised from a region that lies on it. There is no
    normalisation, which at this size takes longer than the convolutions.
    """
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            # An even kernel centres each cell between two pixels, as pooling does.
            _convolution(16, 4, strides=2),
            _convolution(32, 3),
            keras.layers.MaxPooling2D(),
            _convolution(64, 3),
            keras.layers.MaxPooling2D(),
            _convolution(128, 1),
        ],
        name="small",
    )


def _convolution(filters, size, strides=1):
    return keras.layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
    )


def _load_with_or_without_top(network, name, path):
    try:
        _load(network, name, path)
    except ValueError as error:
        if not BACKBONES[name].hidden:
            raise
        # In Keras' older format a file with the top fits only the whole network.
        whole = _application(name, "none", top=True)
        try:
            _load(whole, name, path)
        except ValueError:
            raise error from None
        network.set_weights(whole.get_weights()[: len(network.get_weights())])


def _load(network, name, path):
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(
            "The weights file does not exist. Expected `--weights` 'imagenet', 'none' "
            f"or a weights file of {name} without its top. Received: {path}"
        )
    try:
        # In addition to its error, Keras warns of every layer without a match.
        with warnings.catch_warnings(action="ignore"):
            network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"The weights do not fit {name}. Expected a file that Keras saved of "
            f"{name} without its top. Received: {path} ({reason(error)})"
        ) from error


def reason(error):
    """Returns the line of Keras' error that says why weights cannot be loaded.

    Of a file in its own format the first line announces an example, which follows.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
