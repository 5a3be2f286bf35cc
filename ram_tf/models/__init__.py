"""From images to scores and regions, and from these to the loss.

In: `(B, H, W, 3)` images. Out: the dict of outputs at the head of `networks`.
Start reading at `networks`; the recurrent attention is in `attention`.
"""
