"""Tests the backbones: strides, preprocessing, weights files and frozen layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ram_tf.models import backbone_network, backbones

CHANNELS = {
    "small": 128,
    "vgg16": 512,
    "mobilenet_v2": 1280,
    "resnet50": 2048,
    "resnet101": 2048,
    "efficientnet_v2_s": 1280,
    "convnext_tiny": 768,
}
LIGHT = ("small", "vgg16", "mobilenet_v2")


def names(*left_out):
    """Returns all other names; those that take long to build are marked slow."""
    return [
        name if name in LIGHT else pytest.param(name, marks=pytest.mark.slow)
        for name in CHANNELS
        if name not in left_out
    ]


@pytest.fixture
def images():
    shape = (2, 64, 96, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def test_every_backbone_is_tested():
    assert set(CHANNELS) == set(backbones.BACKBONES)


@pytest.mark.parametrize("name", names())
def test_features_have_the_stated_stride_and_channels(name, images):
    backbone = backbone_network.build(name, "none")
    stride = backbones.BACKBONES[name].stride
    height, width = (edge // stride for edge in (64, 96))
    expected = (2, height, width, CHANNELS[name])
    assert backbone(images).shape == expected
    assert backbone.output_shape == (None, None, None, CHANNELS[name])


@pytest.mark.parametrize("name", ["small", "vgg16"])
def test_cells_lie_in_the_middle_of_their_pixels(name, images):
    backbone = backbone_network.build(name, "none")
    # With symmetric kernels, only the positions where they are applied matter.
    for weights in backbone.trainable_variables:
        if len(weights.shape) == 4:
            kernel = weights + tf.reverse(weights, [0])
            weights.assign(kernel + tf.reverse(kernel, [1]))
    features = backbone(images).numpy()
    for axis in (1, 2):
        mirrored = backbone(np.flip(images, axis)).numpy()
        assert_same_features(np.flip(mirrored, axis), features)


# Each channel has another value, so that swapped channels are detected.
COLOUR = np.array([255.0, 51.0, 0.0], "float32")
PREPROCESSED = {
    "mobilenet_v2": [1.0, -0.6, -1.0],
    # Blue first, minus the means of ImageNet.
    "vgg16": [0.0 - 103.939, 51.0 - 116.779, 255.0 - 123.68],
}
APPLICATIONS = {
    "vgg16": keras.applications.vgg16,
    "mobilenet_v2": keras.applications.mobilenet_v2,
    "resnet50": keras.applications.resnet50,
    "resnet101": keras.applications.resnet,
    "efficientnet_v2_s": keras.applications.efficientnet_v2,
    "convnext_tiny": keras.applications.convnext,
}


def plain_network(name, backbone):
    """Builds the network without preprocessing, with the backbone's weights."""
    network = backbones.BACKBONES[name].application(
        weights=None, include_top=False, input_shape=(None, None, 3)
    )
    if name == "vgg16":
        network = keras.Model(network.input, network.get_layer("block5_conv3").output)
    network.set_weights(backbone.get_weights())
    return network


def assert_same_features(actual, expected):
    assert np.abs(expected).max() > 0
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", PREPROCESSED)
def test_networks_receive_preprocessed_values_computed_by_hand(name):
    backbone = backbone_network.build(name, "none")
    image = np.broadcast_to(COLOUR, (1, 32, 32, 3))
    colour = np.array(PREPROCESSED[name], "float32")
    preprocessed = np.broadcast_to(colour, (1, 32, 32, 3))
    expected = plain_network(name, backbone)(preprocessed).numpy()
    assert_same_features(backbone(image).numpy(), expected)


@pytest.mark.parametrize("name", names("small"))
def test_networks_receive_what_keras_preprocesses(name, images):
    backbone = backbone_network.build(name, "none")
    preprocessed = APPLICATIONS[name].preprocess_input(images.copy())
    expected = plain_network(name, backbone)(preprocessed).numpy()
    assert_same_features(backbone(images).numpy(), expected)


def test_vgg16_ends_with_conv5_3_before_pool5(images):
    backbone = backbone_network.build("vgg16", "none")
    assert backbone.count_params() == 14_714_688  # all 13 convolutions, no fc
    assert backbone.layers[-1].layers[-1].name == "block5_conv3"
    features = backbone(images).numpy()
    assert features.shape[1:3] == (64 // 16, 96 // 16)  # not halved by pool5
    assert features.min() >= 0


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"Unknown backbone.*Received: 'alexnet'"):
        backbone_network.build("alexnet", "none")


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """A weights file without top, whose weights all differ from the initial ones."""
    network = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(None, None, 3)
    )
    rng = np.random.default_rng(1)
    network.set_weights(
        [w + rng.uniform(0, 0.1, w.shape) for w in network.get_weights()]
    )
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    network.save_weights(path)
    return network, str(path)


def test_weights_come_from_a_file(mobilenet):
    network, path = mobilenet
    backbone = backbone_network.build("mobilenet_v2", path)
    for actual, expected in zip(
        backbone.get_weights(), network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.slow
def test_fc6_comes_from_a_file_with_its_top(vgg16_with_top, tmp_path):
    network, path = vgg16_with_top
    kernel, bias = backbone_network.hidden_layer("vgg16", path, (25_088, 4096))
    fc6 = network.get_layer("fc1")
    np.testing.assert_array_equal(kernel, fc6.kernel)
    np.testing.assert_array_equal(bias, fc6.bias)
    backbone = backbone_network.build("vgg16", path)
    expected = keras.Model(network.input, network.get_layer("block5_conv3").output)
    for one, other in zip(backbone.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    older = tmp_path / "vgg16.h5"  # the format of the files that Keras downloads
    network.save(older)
    backbone = backbone_network.build("vgg16", str(older))
    for one, other in zip(backbone.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    older.unlink()
    without = tmp_path / "vgg16_notop.weights.h5"
    backbone.layers[-1].save_weights(without)
    assert backbone_network.hidden_layer("vgg16", str(without), (25_088, 4096)) is None


@pytest.mark.parametrize("name", CHANNELS)
def test_a_head_of_another_shape_is_not_initialised_from_a_file(name, tmp_path):
    # The missing file is never read.
    missing = str(tmp_path / "missing.weights.h5")
    assert backbone_network.hidden_layer(name, missing, (25_088, 512)) is None
    assert backbone_network.hidden_layer(name, "none", (25_088, 4096)) is None


def test_a_missing_weights_file_is_named(tmp_path):
    path = tmp_path / "missing.weights.h5"
    with pytest.raises(FileNotFoundError, match=r"'imagenet', 'none' or.*missing"):
        backbone_network.build("small", str(path))


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".txt"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, ending):
    path = tmp_path / f"file{ending}"
    path.write_text("no weights")
    with pytest.raises(ValueError, match="The weights do not fit small"):
        backbone_network.build("small", str(path))


def test_weights_of_another_network_are_refused(mobilenet, tmp_path):
    with pytest.raises(ValueError, match="The weights do not fit small"):
        backbone_network.build("small", mobilenet[1])
    path = tmp_path / "small.weights.h5"
    backbone_network.build("small", "none").layers[-1].save_weights(path)
    with pytest.raises(ValueError, match="The weights do not fit mobilenet_v2"):
        backbone_network.build("mobilenet_v2", str(path))


@pytest.mark.slow
def test_weights_of_a_larger_network_are_refused(tmp_path):
    path = tmp_path / "resnet.weights.h5"
    keras.applications.ResNet101(weights=None, include_top=False).save_weights(path)
    with pytest.raises(ValueError, match="The weights do not fit resnet50"):
        backbone_network.build("resnet50", str(path))


@pytest.mark.parametrize("frozen", [0.0, 0.5, 0.9, 1.0])
def test_frozen_is_the_share_of_layers_from_the_image_on_that_are_not_trained(frozen):
    network = backbone_network.build("vgg16", "none", frozen).layers[-1]
    count = int(frozen * 18)  # 13 convolutions, 4 pools, the input
    trained = [layer.trainable for layer in network.layers]
    assert trained == [False] * count + [True] * (18 - count)


def test_training_changes_only_layers_that_are_not_frozen():
    backbone = backbone_network.build("mobilenet_v2", "none", frozen=0.9)
    layers = backbone.layers[-1].layers
    trainable = {
        variable.path
        for layer in layers[int(0.9 * len(layers)) :]
        for variable in layer.variables
    }
    before = {v.path: v.numpy() for v in backbone.variables}
    backbone.compile("sgd", "mse")
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    backbone.fit(images, np.ones((2, 1, 1, 1280)), verbose=0)
    changed = {
        v.path for v in backbone.variables if not np.array_equal(v, before[v.path])
    }
    assert changed
    assert changed <= trainable


def test_batch_normalisation_keeps_its_statistics_in_training(images):
    backbone = backbone_network.build("mobilenet_v2", "none")
    before = backbone.get_weights()
    trained = backbone(images, training=True)
    np.testing.assert_array_equal(trained, backbone(images, training=False))
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_without_a_network_connection_the_error_names_the_flag(monkeypatch, tmp_path):
    # Without a proxy and a cache, Keras' own download fails.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        "keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path)
    )
    with pytest.raises(ConnectionError, match="--weights FILE"):
        backbone_network.build("mobilenet_v2", "imagenet")
