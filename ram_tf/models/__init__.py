"""The models, from images to label scores and regions, and their losses.

Start reading at `networks`, whose docstring describes the dict of outputs; the
recurrent attention is in `attention`.
"""
