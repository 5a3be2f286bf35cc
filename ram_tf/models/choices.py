"""What settings choose from by name, besides `backbones`.

It loads at once, unlike TensorFlow, so that `--help` can name every choice.
"""

# Classification loss -> its function in `losses`.
LOSSES = {
    "euclidean": "euclidean",
    "bce": "binary_crossentropy",
    "asl": "asymmetric",
}
LOCALIZATIONS = ("linear", "content")  # see `attention.region_attention`
DESCRIPTIONS = ("pooled", "x", "z")  # vectors of a region, see `RegionLSTM`
