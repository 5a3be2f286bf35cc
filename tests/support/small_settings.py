"""Settings of runs on the `squares` that train in seconds."""

from ram_tf.runs.config import Config

SMALL = Config.of(
    dataset="csv",
    backbone="small",
    weights="none",
    image_size=40,
    crop_margin=8,
    regions=2,
    region_size=4,
    units=16,
    loss="bce",
    batch_size=8,
    pooled_epochs=1,
    epochs=1,
    pooled_learning_rate=1e-3,
    learning_rate=1e-3,
)
# Step 2 starts from step 1, and step 1 from a linear probe.
FROM_STEP_1 = {
    "head_start": "pooled",
    "starts": "anchors",
    "region_pooling": "average",
    "probe_cost": 0.01,
}
# The same, with content localization.
BY_CONTENT = {
    **FROM_STEP_1,
    "starts": "whole",
    "localization": "content",
    "start_scale": 0.3,
    "constraints": "SP",
}
