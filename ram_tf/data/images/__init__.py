"""Decodes single image files, and says why one cannot be decoded.

In: a file's bytes. Out: upright RGB pixels, or a fault. Start reading at `decoding`,
which fails on damaged pixels. `header_checks` refuses a file before it is decoded,
`conversion` reads other formats, and `image_faults` finds and words every reason.
"""
