"""A training run's settings and the folder of its files.

In: flags or a `config.json`. Out: a `Config` and a `Run`, used everywhere below.
Start reading at `config`, then `run`.
"""
