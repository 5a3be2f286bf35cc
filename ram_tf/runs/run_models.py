"""Builds the models of a run, with their trained weights and views."""

from ram_tf.metrics.calibration import CalibratedView
from ram_tf.models import backbones, factory
from ram_tf.models.multi_view import MultiView, ScaledModel
from ram_tf.runs import weights_file


def build_pooled(run, pooling, pretrained=True):
    """Builds the untrained classifier of step 1, see `factory.pooled_classifier`.

    A run that starts from an earlier model gets the backbone's weights from there.
    """
    labels = len(run.label_names)
    pretrained = pretrained and not run.config.model.start_from
    return factory.pooled_classifier(run.config, labels, pooling, pretrained)


def build_attention(run, pooled):
    """Builds the untrained attention model, see `factory.attention_model`."""
    return factory.attention_model(run.config, len(run.label_names), pooled)


def load_pooled(run):
    """Builds the classifier of step 1 with its trained weights.

    Raises:
        FileNotFoundError: The run has no trained weights yet.
    """
    return _load(build_pooled(run, run.pooling, pretrained=False), run.pooled_weights)


def load_attention(run):
    """Builds the attention model of step 2 with its trained weights.

    Raises:
        FileNotFoundError: The run has no trained weights yet.
    """
    pooled = build_pooled(run, run.pooling, pretrained=False)
    return _load(build_attention(run, pooled), run.model_weights)


def _load(model, path):
    if not path.is_file():
        raise FileNotFoundError(
            "The run has no trained weights yet. Expected a run that fit.py has "
            f"finished (resume it with --resume). Received: no file {path}"
        )
    weights_file.load(model, path)
    return model


def view(run, model, sizes=None, **views):
    """Returns the `MultiView` of a run's model.

    Args:
        run: The `Run`.
        model: Its attention model.
        sizes: Edges N to resize images to, in pixels; None for the one of training.
        **views: Arguments of `MultiView`: count, source, describe.

    Raises:
        ValueError: A size is not larger than the crop margin, or the backbone's cells
            do not tile the image.
    """
    stride = backbones.BACKBONES[run.config.model.backbone].stride
    scales = [
        run.config.replace(image_size=size)
        for size in sizes or [run.config.image.image_size]
    ]
    members = [
        ScaledModel(model, scale.image.image_size, scale.image.crop, stride)
        for scale in scales
    ]
    multi_view = MultiView(members, **views)
    for scale in scales:
        scale.check_cells(whole_images=multi_view.source == "features")
    return multi_view


def served_view(run, model):
    """Returns the calibrated single view of a run's model, which is exported."""
    return CalibratedView(view(run, model), run.calibration)
