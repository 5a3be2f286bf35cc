"""Functions that damage a file of arrays, each in another way."""

import numpy as np


def truncated(path):
    path.write_bytes(path.read_bytes()[:-30])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("no arrays")


def single_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
