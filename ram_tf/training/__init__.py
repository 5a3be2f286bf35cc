"""Training in the two steps of section 5.1: pooled classifier, then attention model.

Input: a `Run` and two splits. Output: the trained weights of the run.
Start reading at `two_steps`.
"""
