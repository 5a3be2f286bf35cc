"""Finds images of one split that another split contains, too, under another name.

A model that is judged on what it has learnt from seems better than it is. Exact
duplicates have the same bytes (SHA-256). Near duplicates, such as the same photograph
in another size or quality, have nearly the same `greys`: small grey images, which are
made while a split is read. They are compared by a difference hash of 64 bits first,
which takes two numbers for each pair, and then by their correlation.

The hash is ours, because one of eight lines needs no dependency. Mirrored, turned and
much cropped images are not found.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from ram_tf.data.pipelines import read_files

# Ours: below it, the noise of JPEG decides about bits of even areas, such as a sky.
MARGIN = 2
# Ours: re-encoded and resized photographs differ by up to 3 bits, and cropped by 2 % of
# each edge by up to 7. Of a million pairs of different photographs some dozens are as
# close by chance; their correlation is below 0.85, that of duplicates above 0.95.
MAX_DISTANCE = 7
MIN_CORRELATION = 0.95
# Ours: an image with less contrast, in levels of 255, is blank, and like all others.
MIN_CONTRAST = 2
PAIRS_AT_ONCE = 1 << 21
VECTORS_AT_ONCE = 1 << 15
# Ours: the share of all images up to which comparing those in buckets is faster.
MOST_IN_BUCKETS = 1 / 64
# Of four parts of a hash, one differs by at most one bit if all differ by seven.
PARTS = 4
_PROBES = np.array([0, *(1 << np.arange(16))], np.uint16)


class Duplicates(NamedTuple):
    """The images of a split that another split contains, too.

    Args:
        exact: Pairs `(index, index in the other split)` of images of the same bytes; an
            index occurs once.
        near: The same for the other images that look the same.
    """

    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]


def find(split, other):
    """Finds the images of a split that another split contains, too.

    Of several in the other split, the one most alike is named, then the first.

    Args:
        split: A `Split` with `greys`, such as the one to test on.
        other: A `Split` with `greys`, such as the one to train on.

    Returns:
        `Duplicates`, sorted by index.
    """
    if not len(split) or not len(other):
        return Duplicates([], [])
    exact = _same_bytes(split, other)
    rest = np.setdiff1d(np.arange(len(split)), [index for index, _ in exact])
    near = _alike(split.greys[rest], other.greys)
    return Duplicates(exact, [(int(rest[i]), j) for i, j in near])


def _same_bytes(split, other):
    # Only of images with the same grey are the bytes read again.
    shared = _grey_bytes(split) & _grey_bytes(other)
    index_of = {}
    for index, digest in _digests(other, shared):
        index_of.setdefault(digest, index)
    return [
        (index, index_of[digest])
        for index, digest in _digests(split, shared)
        if digest in index_of
    ]


def _grey_bytes(split):
    return {grey.tobytes() for grey in split.greys}


def _digests(split, shared):
    """Yields the index and the SHA-256 of each image whose grey is one of `shared`."""
    kept = [i for i, grey in enumerate(split.greys) if grey.tobytes() in shared]
    for index, encoded in zip(kept, read_files(split.take(kept)), strict=True):
        yield index, hashlib.sha256(encoded).digest()


def difference_hash(greys):
    """Returns the hashes `(n,)` uint64 of greys `(n, 16, 18)`.

    Each bit is whether one of 8 x 9 cells is brighter than the one on its left.
    """
    cells = greys.reshape(-1, 8, 2, 9, 2).mean((2, 4))
    bits = np.diff(cells, axis=2) > MARGIN
    # Diagonals, so that an even edge of the image makes no part of the hash constant.
    rows, columns = np.indices(bits.shape[1:])
    order = np.argsort(((rows + columns) % PARTS).ravel(), kind="stable")
    packed = np.packbits(bits.reshape(-1, 64)[:, order], axis=1)
    return np.ascontiguousarray(packed).view(np.uint64).ravel()


def _alike(greys, others):
    """Returns pairs of indices of greys that look the same; see `find`."""
    (kept, vectors), (other_kept, other_vectors) = _unit(greys), _unit(others)
    hashes = difference_hash(greys[kept])
    other_hashes = difference_hash(others[other_kept])
    buckets = _Buckets.of(hashes, other_hashes)
    most = MOST_IN_BUCKETS * len(other_kept)
    pairs = []
    for rows in _blocks(np.flatnonzero(buckets.sizes <= most), buckets.sizes):
        i, j = buckets.pairs(rows)
        close = np.bitwise_count(hashes[i] ^ other_hashes[j]) <= MAX_DISTANCE
        i, j = i[close], j[close]
        similar = _correlations(vectors, i, other_vectors, j)
        order = np.lexsort((j, -similar, i))
        best = order[np.unique(i[order], return_index=True)[1]]
        best = best[similar[best] >= MIN_CORRELATION]
        pairs += zip(i[best].tolist(), j[best].tolist(), strict=True)
    # Pictures on one even background have hashes of few bits, and their buckets hold
    # nearly all: a product of matrices is then faster than a list of pairs.
    whole = np.full(len(hashes), len(other_kept))
    for rows in _blocks(np.flatnonzero(buckets.sizes > most), whole):
        similar = vectors[rows] @ other_vectors.T
        found = similar.max(1, initial=-1) >= MIN_CORRELATION
        rows, similar = rows[found], similar[found].round(4)
        distance = np.bitwise_count(hashes[rows, None] ^ other_hashes)
        similar[distance > MAX_DISTANCE] = -1
        best = similar.argmax(1)
        found = similar[np.arange(len(rows)), best] >= MIN_CORRELATION
        pairs += zip(rows[found].tolist(), best[found].tolist(), strict=True)
    return [(int(kept[i]), int(other_kept[j])) for i, j in sorted(pairs)]


def _unit(greys):
    """Returns the indices of greys with contrast, and each as a vector of length 1."""
    flat = greys.reshape(len(greys), np.prod(greys.shape[1:])).astype(np.float32)
    kept = np.flatnonzero(flat.std(1) >= MIN_CONTRAST)
    flat = flat[kept] - flat[kept].mean(1, keepdims=True)
    return kept, flat / np.linalg.norm(flat, axis=1, keepdims=True)


def _correlations(vectors, i, others, j):
    similar = np.empty(len(i), np.float32)
    for begin in range(0, len(i), VECTORS_AT_ONCE):
        part = slice(begin, begin + VECTORS_AT_ONCE)
        similar[part] = np.einsum("nc,nc->n", vectors[i[part]], others[j[part]])
    return similar.round(4)


def _blocks(rows, sizes):
    """Yields parts of `rows` whose `sizes` add up to `PAIRS_AT_ONCE` or are one row."""
    total = np.cumsum(sizes[rows])
    begin = 0
    while begin < len(rows):
        done = total[begin - 1] if begin else 0
        end = int(np.searchsorted(total, done + PAIRS_AT_ONCE, "right"))
        yield rows[begin : max(end, begin + 1)]
        begin = max(end, begin + 1)


class _Buckets(NamedTuple):
    """Where the hashes are that share nearly a part with each of n hashes.

    Args:
        starts: `(n, PARTS, 17)` places in `order`.
        counts: `(n, PARTS, 17)` how many follow each.
        order: The indices of the others, sorted by each part in turn.
        sizes: `(n,)` the sum of counts.
    """

    starts: np.ndarray
    counts: np.ndarray
    order: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, hashes, others):
        starts, counts, orders = [], [], []
        for part, other in zip(_parts(hashes), _parts(others), strict=True):
            order = np.argsort(other, kind="stable")
            wanted = part[:, None] ^ _PROBES
            start, end = (
                np.searchsorted(other[order], wanted, side)
                for side in ("left", "right")
            )
            starts.append(start + len(others) * len(orders))
            counts.append(end - start)
            orders.append(order)
        counts = np.stack(counts, 1)
        sizes = counts.sum((1, 2))
        return cls(np.stack(starts, 1), counts, np.concatenate(orders), sizes)

    def pairs(self, rows):
        """Returns the indices `(i, j)` of all pairs of some rows; some occur twice."""
        counts = self.counts[rows].ravel()
        # The places 0, 1, 2 ... behind the start of each bucket.
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        j = self.order[np.repeat(self.starts[rows].ravel(), counts) + place]
        return np.repeat(rows, self.sizes[rows]), j


def _parts(hashes):
    return hashes.view(np.uint16).reshape(-1, PARTS).T
