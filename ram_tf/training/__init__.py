"""The two training steps of section 5.1: the pooled classifier, then the attention.

In: a `Run` and two splits. Out: its trained weights.
Start reading at `two_steps`.
"""
