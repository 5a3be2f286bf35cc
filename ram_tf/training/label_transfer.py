"""Initialises the steps of a run with an earlier model whose labels may be others.

Ours, because a few more labels are no reason to learn the others again. A label is
taken over if one of exactly the same name exists in both; the others start as they do
without an earlier model.

Step 1 takes the backbone, the hidden layer and each shared label's column of the
classifier. Step 2 starts from the new run's step 1 where `head_start` is "pooled": the
units of the attention model that hold a label's score are laid out anew for the new
labels, and the columns come through step 1. With other head starts, which begin with
random layers, it takes all layers of the earlier model's attention, with each shared
label's column of `W_zs`.
"""

from ram_tf.data.split import shortened
from ram_tf.runs import run_models
from ram_tf.runs.config import FIELDS
from ram_tf.runs.origin import Origin
from ram_tf.training import linear_probe

# The settings by which the attention's weights mean the same in two models.
OF_ATTENTION = (
    "model units region_size region_pooling layout_channels region_source localization "
    "locations starts"
).split()


def start_pooled(pooled, split, settings):
    """Takes over step 1 of the earlier model, and prints which labels are new.

    With `probe_cost`, a linear probe of the earlier model's backbone initialises the
    classifier of new labels.

    Args:
        pooled: The untrained `PooledClassifier`.
        split: The training split.
        settings: The `Config`.
    """
    origin = Origin.open(settings.model.start_from)
    taken = origin.pooled_weights(pooled.backbone)
    pooled.backbone.set_weights(taken.backbone)
    if pooled.feature:
        pooled.feature.set_weights(taken.hidden)
    if settings.training.probe_cost:
        linear_probe.start(pooled, split, settings)
    columns = shared_columns(split.label_names, origin.label_names)
    _take_columns(pooled.classifier, (taken.kernel, taken.bias), columns)
    new = [name for name in split.label_names if name not in origin.label_names]
    print(
        f"starts from {origin.folder}: {len(columns)} of {len(split.label_names)} "
        "labels are taken over" + (f"; {len(new)} new: {shortened(new)}" if new else "")
    )


def start_attention(model, split, settings):
    """Takes over step 2 of the earlier model, where it has the same kind of attention.

    Args:
        model: The `AttentionModel` on the new run's step 1.
        split: The training split.
        settings: The `Config`.
    """
    origin = Origin.open(settings.model.start_from)
    reason = _obstacle(origin, settings)
    if reason:
        print(f"step 2 takes nothing over from {origin.folder}: {reason}")
        return
    own, earlier = model.attention, run_models.load_attention(origin.run).attention
    labels = own.region_lstm.classifier
    by_label = {id(variable) for variable in labels.weights}
    pairs = zip(own.trainable_variables, earlier.trainable_variables, strict=True)
    for variable, value in pairs:
        if id(variable) not in by_label:
            variable.assign(value)
    columns = shared_columns(split.label_names, origin.label_names)
    _take_columns(labels, earlier.region_lstm.classifier.get_weights(), columns)


def shared_columns(label_names, earlier_names):
    """Returns the labels that two models share: index in the first, in the second."""
    places = {name: index for index, name in enumerate(earlier_names)}
    return {
        index: places[name] for index, name in enumerate(label_names) if name in places
    }


def _take_columns(classifier, weights, columns):
    kernel, bias = classifier.get_weights()
    for own, earlier in columns.items():
        kernel[:, own], bias[own] = weights[0][:, earlier], weights[1][earlier]
    classifier.set_weights([kernel, bias])


def _obstacle(origin, settings):
    """Returns why step 2 cannot take over the earlier attention; empty if it can."""
    if not origin.run:
        return "a SavedModel gives step 1 only"
    if not origin.run.model_weights.is_file():
        return "its step 2 is not trained"
    names = list(OF_ATTENTION)
    if settings.attention.starts == "anchors":
        names += ["regions", "steps"]  # each region has weights of its own
    other = {"rdar", "rarl"} - {settings.model.kind}
    differ = [
        f"--{name} {settings[name]} (there {origin.config[name]})"
        for name in names
        if FIELDS[name][1].metadata["only"] not in other
        and settings[name] != origin.config[name]
    ]
    return ", ".join(differ)
