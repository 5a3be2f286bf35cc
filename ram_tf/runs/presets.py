"""Settings that were tried together, and which data set begins with which."""

# Each preset is what differs from the defaults of `Config`, which are the paper's.
PRESETS = {
    # Section 5.1, with VGG-16's head: a 7x7 map into a hidden layer, which begins step
    # 1 as ImageNet's fc6 and goes on as W_fx.
    "paper": {"pooling": "flatten", "pooled_units": 4096, "head_start": "feature"},
    # Ours, for a few thousand photographs and a pretrained backbone: found on parts of
    # the training data, as docs/experiments.md tells.
    "photographs": {
        "image_size": 480,
        "zooms": "1,1,1.25",
        "colour_jitter": 0.4,
        "frozen": 0.75,
        # Enough for the labels of one photograph; five point nearly as well.
        "regions": 9,
        # The cells of the map at 480 pixels, so that M_0 is all of them.
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
        # Averaged while the rate stays high, and the best epoch taken.
        "schedule": "constant",
        "clip_norm": 1.0,
        "ema": 0.995,
        "select_by": "mAP",
        "calibrate": True,
    },
    # Ours, for the embedded canvases of 96 pixels: a small crop margin, and no mirror,
    # since digits have a left and a right.
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
        # Regions of two fifths of the canvas: much larger ones read every digit from
        # where they start, and have no reason to move.
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
# What a preset changes for RARL.
OF_RARL = {
    "photographs": {
        # The best of 45 regions, many of them small, is high by chance more often than
        # that of nine: the whole image steadies it.
        "context": 0.85,
        # Step 1's features know their images by heart, and get worse with what more
        # they learn: the policy alone moves. docs/rarl.md tells what was tried.
        "learning_rate": 1e-6,
        "localization_rate": 100.0,
        "sigma": 0.3,
        "episodes": 4,
    },
    "digits": {
        # Nine regions a step instead of one: each is sampled to fewer cells, and an
        # epoch takes four times as long.
        "region_size": 8,
        "epochs": 6,
    },
}
PRESET_OF = {
    "digits": "digits",
    "voc2007": "paper",
    "voc2012": "photographs",
    "coco": "paper",
    "csv": "photographs",
}


def preset(name, model="rdar"):
    """The settings of a preset for a model, as a dict."""
    changes = OF_RARL.get(name, {}) if model == "rarl" else {}
    return {**PRESETS[name], **changes}
