"""The two training steps of section 5.1: pooled classifier, attention model.

In: a `Run` and two splits. Out: the trained weights of the run.
Start reading at `two_steps`.
"""
