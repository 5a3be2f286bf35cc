"""Networks, from images to label scores and regions, and their losses.

In: `(B, H, W, 3)` images in [0, 255]. Out: the dict described in `networks`.
Start reading at `networks`, then `attention`; `losses` has the equations of section 4.
`backbones` is the table of the backbones; a new one is a row of it.
"""
