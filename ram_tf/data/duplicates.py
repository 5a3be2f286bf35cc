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

from ram_tf.data.image_bytes import read_files
from ram_tf.storage.file_ranges import FileRanges

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
    codes, other_codes = _codes(split.greys), _codes(other.greys)
    index_of = {}
    for index, digest in _digests(other, np.isin(other_codes, codes)):
        index_of.setdefault(digest, index)
    return [
        (index, index_of[digest])
        for index, digest in _digests(split, np.isin(codes, other_codes))
        if digest in index_of
    ]


def _codes(greys):
    """Returns a number `(n,)` of each grey, by chance the same for two of 2 ** 64."""
    numbers = np.reshape(greys, (len(greys), -1)).view(np.uint64)
    factors = np.random.default_rng(0).integers(1 << 63, size=numbers.shape[1])
    # Uneven, so that no bit of a grey is lost.
    return numbers @ (2 * factors.astype(np.uint64) + np.uint64(1))


def _digests(split, chosen):
    """Yields the index and the SHA-256 of each image that is chosen, `(n,)` bool."""
    kept = np.flatnonzero(chosen).tolist()
    part = split.take(kept)
    if isinstance(part.images, FileRanges):
        digests = (image.digest for image in part.images)
    else:
        digests = (hashlib.sha256(each).digest() for each in read_files(part))
    yield from zip(kept, digests, strict=True)


def difference_hash(greys):
    """Returns the hashes `(n,)` uint64 of greys `(n, 16, 18)`.

    Each bit is whether one of 8 x 9 cells is brighter than the one on its left.
    """
    pixels = greys.astype(np.int16)
    upper, lower = pixels[:, ::2], pixels[:, 1::2]
    # Sums of the four pixels of a cell, ten times as fast as means over axes.
    cells = sum(row[..., side::2] for row in (upper, lower) for side in (0, 1))
    bits = np.diff(cells, axis=2) > 4 * MARGIN
    # Diagonals, so that an even edge of the image makes no part of the hash constant.
    rows, columns = np.indices(bits.shape[1:])
    order = np.argsort(((rows + columns) % PARTS).ravel(), kind="stable")
    packed = np.packbits(bits.reshape(-1, 64)[:, order], axis=1)
    return np.ascontiguousarray(packed).view(np.uint64).ravel()


def _alike(greys, others):
    """Returns pairs of indices of greys that look the same; see `find`."""
    vectors, other_vectors = _Vectors.of(greys), _Vectors.of(others)
    kept, other_kept = vectors.kept, other_vectors.kept
    hashes, other_hashes = _hashes(greys, kept), _hashes(others, other_kept)
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
    whole, rest = np.full(len(hashes), len(other_kept)), buckets.sizes > most
    matrix = other_vectors.at(slice(None)).T if rest.any() else None
    for rows in _blocks(np.flatnonzero(rest), whole):
        similar = vectors.at(rows) @ matrix
        found = similar.max(1, initial=-1) >= MIN_CORRELATION
        rows, similar = rows[found], similar[found].round(4)
        distance = np.bitwise_count(hashes[rows, None] ^ other_hashes)
        similar[distance > MAX_DISTANCE] = -1
        best = similar.argmax(1)
        found = similar[np.arange(len(rows)), best] >= MIN_CORRELATION
        pairs += zip(rows[found].tolist(), best[found].tolist(), strict=True)
    return [(int(kept[i]), int(other_kept[j])) for i, j in sorted(pairs)]


def _hashes(greys, kept):
    blocks = range(0, len(kept), VECTORS_AT_ONCE)
    parts = [difference_hash(greys[kept[at : at + VECTORS_AT_ONCE]]) for at in blocks]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


class _Vectors(NamedTuple):
    """Greys with contrast as vectors of length 1, computed when they are asked for.

    Those of a million greys would take 1.2 GB.

    Args:
        greys: `(n, 16, 18)` uint8.
        kept: The indices of those with contrast.
    """

    greys: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(cls, greys):
        flat = np.reshape(greys, (len(greys), np.prod(greys.shape[1:])))
        contrast = [
            flat[at : at + VECTORS_AT_ONCE].astype(np.float32).std(1)
            for at in range(0, len(flat), VECTORS_AT_ONCE)
        ]
        contrast = np.concatenate([np.zeros(0, np.float32), *contrast])
        return cls(flat, np.flatnonzero(contrast >= MIN_CONTRAST))

    def at(self, rows):
        """Returns the vectors of some of `kept`, `(m, 288)` float32."""
        rows = self.kept[rows]
        vectors = np.empty((len(rows), self.greys.shape[1]), np.float32)
        for at in range(0, len(rows), VECTORS_AT_ONCE):
            part = self.greys[rows[at : at + VECTORS_AT_ONCE]].astype(np.float32)
            part -= part.mean(1, keepdims=True)
            part /= np.linalg.norm(part, axis=1, keepdims=True)
            vectors[at : at + VECTORS_AT_ONCE] = part
        return vectors


def _correlations(vectors, i, others, j):
    similar = np.empty(len(i), np.float32)
    for begin in range(0, len(i), VECTORS_AT_ONCE):
        part = slice(begin, begin + VECTORS_AT_ONCE)
        similar[part] = np.einsum("nc,nc->n", vectors.at(i[part]), others.at(j[part]))
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
