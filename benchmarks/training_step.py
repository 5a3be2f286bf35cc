"""Compares a training step with its backbone's, with other settings and its input.

- `step`: forward pass, backward pass and Adam update of the model, as in step 2 of
  `fit.py`, on crops of N minus the margin, without TensorFlow's deterministic mode.
- `backbone_step`: forward and backward pass of the backbone alone, to its trained
  weights (the last quarter of MobileNetV2), on the same crops.
- `step_bfloat16`, `step_xla`: `step` with `--precision mixed_bfloat16` and with
  `--jit_compile`. Each is timed in turns with `step`.
- `pipeline`: see `input_pipeline`. `pipeline_over_step` is its images per second,
  divided by those of a step.
"""

import tensorflow as tf

from benchmarks import input_pipeline
from benchmarks.forward import graph
from benchmarks.timing import Candidate, Ratio
from ram_tf.training.two_steps import compile_model

STEPS = 1000  # of the learning rate schedule
RATIOS = (
    Ratio("step_over_backbone_step", "step", "backbone_step"),
    # A ratio of throughputs: the time of the step over that of the pipeline.
    Ratio("pipeline_over_step", "step", "pipeline", at_least=3),
)
BFLOAT16 = (Ratio("step_bfloat16_over_step", "step_bfloat16", "step"),)
XLA = (Ratio("step_xla_over_step", "step_xla", "step"),)


def candidates(subject):
    """Builds the `Candidate`s of `RATIOS`, by name."""
    return {
        "step": step(subject),
        "backbone_step": Candidate(backbone_step(subject), subject.batch),
        "pipeline": input_pipeline.package_pipeline(subject, subject.split),
    }


def in_bfloat16(subject):
    """Builds the `Candidate`s of `BFLOAT16`, by name."""
    changed = subject.with_settings(precision="mixed_bfloat16")
    return {"step": step(subject), "step_bfloat16": step(changed)}


def with_xla(subject):
    """Builds the `Candidate`s of `XLA`, by name."""
    return {"step": step(subject), "step_xla": step(subject, xla=True)}


def step(subject, xla=False):
    """Builds the `Candidate` of a training step, always on the same batch.

    Args:
        subject: The `Subject`, whose model is trained.
        xla: Whether XLA compiles the step. Steps with and without XLA share a model and
            its optimiser, because two models with VGG-16 would fill the memory.
    """
    model, settings = subject.model, subject.settings
    if not model.compiled:
        compile_model(model, settings, settings.training.learning_rate, STEPS)
    model.jit_compile = xla
    model.make_train_function(force=True)
    function = model.train_function
    images, labels = subject.images(settings.image.crop), subject.labels

    def run():
        model.train_function = function
        return model.train_on_batch(images, labels)

    return Candidate(run, subject.batch)


def backbone_step(subject):
    """Builds a function that runs the backbone forward and backward once."""
    backbone = subject.model.backbone
    weights = [variable.value for variable in backbone.trainable_variables]

    def gradients(images):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(backbone(images, training=True))
        return tape.gradient(total, weights)

    return graph(gradients, subject.images(subject.settings.image.crop))
