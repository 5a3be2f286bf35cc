"""How fast the package is, as ratios: `python -m benchmarks.run`, or `make bench`.

What a figure compares is measured in one process, in turns (A B A B ...); the figure is
the median of the ratios of the rounds. So it depends on the machine and on what else
runs there far less than seconds do. `timing` takes the times, `subject` builds what is
timed by the package's own code; `forward`, `training_step`, `input_pipeline` and
`saved_model` say what each figure compares; `record` keeps and prints them.

`serving`, `devices` and `beam` are commands of their own: they measure a server that
runs, processes that train in turns, and a batch that is killed on the way.
"""
