"""The settings of a training run and the folder that holds its results.

In: flags or a `config.json`. Out: a `Config` and a `Run`, the two objects to know.
Start reading at `config`, then `run`.
"""
