"""The two training steps of section 5.1: pooled classifier, attention model.

In: a `Run` and two splits. Out: the trained weights of the run.
Start reading at `two_steps`. `checkpoints` validates and writes what resuming needs,
also when `termination` has noted SIGTERM; `callbacks` shows how training goes.
"""
