"""Measures speed as ratios: `python -m benchmarks.run`, or `make bench`.

What a ratio compares is timed in one process, in turns (A B A B ...); the result is the
median over the rounds. It depends on the machine and its load far less than seconds do.
`timing` measures, `subject` builds the models that are timed, `forward`,
`training_step`, `input_pipeline` and `saved_model` define the ratios, and `record`
stores and prints them. `serving`, `soak`, `devices` and `batch` are separate commands.
"""
