"""The table of the backbones: a new one is a row of `BACKBONES`.

`backbone_network` builds them. This file loads at once, unlike TensorFlow, so that
`--help` can name every backbone.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What is needed to build a backbone.

    Args:
        network: The name of the network in `keras.applications`; None for `small`,
            which `backbone_network` builds.
        layer: The layer whose output is the feature map; None for the last one.
        stride: Pixels of the image per cell of the feature map. Cells tile an image
            whose edges are multiples of it.
        module: The module of `keras.applications` whose `preprocess_input` maps RGB in
            [0, 255] to the range the network was trained on; None where the network
            does so itself.
        hidden: Name and kernel shape of the first fully connected layer of the
            network's top; None where the top has only the classifier.
    """

    network: str | None
    layer: str | None
    stride: int
    module: str | None
    hidden: tuple[str, tuple[int, int]] | None = None

    def application(self, **options):
        """Builds the network as its function in `keras.applications` does."""
        import keras

        return getattr(keras.applications, self.network)(**options)

    def scaling(self, images):
        """Maps RGB in [0, 255] to the range that the network was trained on."""
        if self.module is None:
            return images
        import keras

        return getattr(keras.applications, self.module).preprocess_input(images)


BACKBONES = {
    # Section 3: features from conv5_3, before pool5.
    "vgg16": Backbone(
        "VGG16",
        "block5_conv3",
        16,
        "vgg16",
        hidden=("fc1", (7 * 7 * 512, 4096)),  # fc6
    ),
    "mobilenet_v2": Backbone("MobileNetV2", None, 32, "mobilenet_v2"),
    "resnet50": Backbone("ResNet50", None, 32, "resnet"),
    "resnet101": Backbone("ResNet101", None, 32, "resnet"),
    "efficientnet_v2_s": Backbone("EfficientNetV2S", None, 32, None),
    "convnext_tiny": Backbone("ConvNeXtTiny", None, 32, None),
    "small": Backbone(None, None, 8, None),
}
