"""A step of training, in several numbers and compilers, and what feeds it.

- `step`: forward, backward and Adam of the whole model, as `fit.py` does in step 2 on
  crops of N less the margin, without the determinism that it asks of TensorFlow.
- `backbone_step`: forward and backward of the backbone alone, to the weights that are
  trained (of MobileNetV2 its last quarter), on the same crops.
- `step_bfloat16`, `step_xla`: as `step`, with `--precision mixed_bfloat16`, and with
  `--jit_compile`. Each is timed in turns with `step`.
- `pipeline`: see `input_pipeline`. `pipeline_over_step` is how many images a second it
  gives for each that a step takes.
"""

import tensorflow as tf

from benchmarks import input_pipeline
from benchmarks.forward import graph
from benchmarks.timing import Candidate, Figure
from ram_tf.training.two_steps import compile_model

STEPS = 1000  # of the schedule
FIGURES = (
    Figure("step_over_backbone_step", "step", "backbone_step"),
    # Throughputs: the time of the other over that of the pipeline.
    Figure("pipeline_over_step", "step", "pipeline", at_least=3),
)
BFLOAT16 = (Figure("step_bfloat16_over_step", "step_bfloat16", "step"),)
XLA = (Figure("step_xla_over_step", "step_xla", "step"),)


def candidates(subject):
    """The `Candidate`s of `FIGURES` by name."""
    return {
        "step": step(subject),
        "backbone_step": Candidate(backbone_step(subject), subject.batch),
        "pipeline": input_pipeline.ours(subject),
    }


def in_bfloat16(subject):
    """The `Candidate`s of `BFLOAT16` by name."""
    changed = subject.with_settings(precision="mixed_bfloat16")
    return {"step": step(subject), "step_bfloat16": step(changed)}


def with_xla(subject):
    """The `Candidate`s of `XLA` by name."""
    return {"step": step(subject), "step_xla": step(subject, xla=True)}


def step(subject, xla=False):
    """A step of training, on the same batch each time.

    Args:
        subject: The `Subject`, whose model is trained.
        xla: Whether XLA compiles the step. The model and the state of its optimiser are
            the same with it and without, as two of VGG-16's would fill the memory.

    Returns:
        A `Candidate`.
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
    """A function that goes forward and backward through the backbone once."""
    backbone = subject.model.backbone
    weights = [variable.value for variable in backbone.trainable_variables]

    def gradients(images):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(backbone(images, training=True))
        return tape.gradient(total, weights)

    return graph(gradients, subject.images(subject.settings.image.crop))
