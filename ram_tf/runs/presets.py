"""Presets: settings that were tested together, and the default one per dataset."""

# Each preset holds the differences to the defaults of `Config`, which are the paper's.
PRESETS = {
    # Section 5.1, with VGG-16's head: a 7x7 map into a hidden layer, which is
    # initialised as ImageNet's fc6 and becomes W_fx in step 2.
    "paper": {"pooling": "flatten", "pooled_units": 4096, "head_start": "feature"},
    # Ours, for a few thousand photographs and a pretrained backbone, chosen on parts of
    # the training images (docs/experiments.md).
    "photographs": {
        "image_size": 480,
        "zooms": "1,1,1.25",
        "colour_jitter": 0.4,
        "frozen": 0.75,
        # Enough for the labels of one photograph; 5 score nearly as well in pointing.
        "regions": 9,
        # At 480 pixels and a stride of 32 the map has 13x13 cells, all of them in M_0.
        "region_size": 13,
        "region_pooling": "average",
        "units": 512,
        "localization": "content",
        # Three cells of thirteen.
        "start_scale": 0.23,
        # Regions found by content have no anchors.
        "constraints": "SP",
        "head_start": "pooled",
        "context": 0.8,
        "loss": "bce",
        "batch_size": 32,
        "probe_cost": 0.002,
        "pooled_epochs": 12,
        "epochs": 2,
        "pooled_learning_rate": 1e-3,
        "learning_rate": 1e-5,
        "backbone_rate": 0.3,
        # The average (ema) of a constant rate, of which the best epoch is taken.
        "schedule": "constant",
        "clip_norm": 1.0,
        "ema": 0.995,
        "select_by": "mAP",
        "calibrate": True,
    },
    # Ours, for the embedded images of 96 pixels: a small crop margin, and no mirroring,
    # since mirrored digits are no digits.
    "digits": {
        "image_size": 104,
        "crop_margin": 8,
        "flip": False,
        "backbone": "small",
        "weights": "none",
        "region_size": 12,
        "region_pooling": "centre",
        "layout_channels": 32,
        "units": 256,
        "starts": "anchors",
        # Much larger regions contain every digit at their initial positions, and have
        # no reason to move.
        "start_scale": 0.38,
        "alpha": 0.3,
        "gamma": 0.3,
        "head_start": "pooled",
        "context": 0.0,
        "dropout": 0.1,
        "loss": "bce",
        "batch_size": 32,
        "pooled_epochs": 10,
        "epochs": 14,
        "pooling": "max",
        "pooled_learning_rate": 2e-3,
        "learning_rate": 1.5e-3,
        "localization_rate": 1.5,
        "schedule": "cosine",
        "clip_norm": 1.0,
        "select_by": "mAP",
        "calibrate": True,
    },
}
# Changes of a preset for RARL.
OF_RARL = {
    "photographs": {
        # The highest score of 45 regions, many of them small, is high by chance more
        # often than that of nine; the whole image stabilises it.
        "context": 0.85,
        # Step 1's features have memorised the training images and get worse with more
        # training, so only the policy is trained at a high rate (docs/rarl.md).
        "learning_rate": 1e-6,
        "localization_rate": 100.0,
        "sigma": 0.3,
        "episodes": 4,
    },
    "digits": {
        # Nine regions per step instead of one, so each is sampled to fewer cells. An
        # epoch takes four times as long.
        "region_size": 8,
        "epochs": 6,
    },
}
PRESET_OF = {
    "digits": "digits",
    "voc2007": "paper",
    "voc2012": "photographs",
    "voc": "photographs",
    "coco": "paper",
    "csv": "photographs",
    "shards": "photographs",  # or that of the dataset they were made of
}


def preset(name, model="rdar"):
    """Returns the settings of a preset for a model as a dict."""
    changes = OF_RARL.get(name, {}) if model == "rarl" else {}
    return {**PRESETS[name], **changes}
