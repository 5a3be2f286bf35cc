"""Decodes single image files, and says why one cannot be decoded.

In: a file's bytes. Out: upright RGB pixels, or a fault. Start reading at `decoding`;
`image_checks` refuses a file in the graph, and `image_faults` says why afterwards.
"""
