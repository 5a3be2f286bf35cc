"""A training run's settings and the folder of its files.

In: flags or a `config.json`. Out: a `Config` and a `Run`, used everywhere below.
Start reading at `config`, then `run`. `settings` has the fields with the paper's
defaults, `presets` the values recommended for each dataset.
"""
