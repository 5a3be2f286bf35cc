"""Divides images into parts that have their share of each label.

Iterative stratification of Sechidis, Tsoumakas and Vlahavas, "On the Stratification of
Multi-Label Data" (ECML PKDD 2011), algorithm 1. Ours beside it: the parts have their
exact sizes, and a rare label is first given to the training part, then to the
validation part, because the greedy rule leaves both images of a label with two in the
largest part.
"""

import itertools

import numpy as np

TRAIN, VAL = 0, 1
# Exchanges that are tried for a part; so many take about a second.
MAX_TRIES = 50_000


def part_sizes(total, fractions):
    """Returns the numbers of training, validation and test images, `total` together.

    Args:
        total: Number of images.
        fractions: The parts' fractions of it.

    Raises:
        ValueError: The fractions are not three that add up to 1.
    """
    fractions = tuple(fractions)
    positive = all(fraction >= 0 for fraction in fractions)
    if len(fractions) != 3 or not positive or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            "`split_fraction` is invalid. Expected three fractions (train, val, test), "
            f"none negative, that add up to 1. Received: {fractions}"
        )
    ends = np.round(np.cumsum(fractions) * total).astype(int)
    return np.diff([0, *ends[:2], total])


def divide(labels, counts, seed):
    """Divides images into parts of given sizes, with each label in its share.

    A label with two or more positives has one in the first part, and one in the second
    where the sizes allow it. Images without a positive fill the parts at random.

    Args:
        labels: `(n, L)` integers; positive: present.
        counts: The parts' numbers of images, n together: of training, validation and
            any others.
        seed: The same seed divides the same labels in the same way.

    Returns:
        A list of sorted index arrays, one per part.
    """
    labels, counts = np.asarray(labels) > 0, np.asarray(counts, int)
    if counts.sum() != len(labels) or (counts < 0).any():
        raise ValueError(
            f"Invalid sizes of parts. Expected {len(labels)} images together, none "
            f"negative. Received: {counts.tolist()}"
        )
    division = _Division(labels, counts, np.random.default_rng(seed))
    division.deal_labels()
    division.deal_rest()
    for part in (TRAIN, VAL):
        division.swap_in(part)
    return [np.flatnonzero(division.part == i) for i in range(len(counts))]


class _Division:
    """The parts that images were dealt to, and what each part still wants."""

    def __init__(self, labels, counts, rng):
        self.part = np.full(len(labels), -1)
        self.room = counts.copy()
        shares = counts / max(1, len(labels))
        self.total = labels.sum(0)
        # What each part still wants of each label.
        self.wanted = np.outer(shares, self.total)
        self.found = np.zeros(self.wanted.shape, int)
        self.left = self.total.copy()
        self.labels_of = [np.flatnonzero(row) for row in labels]
        order = rng.permutation(len(labels))
        self.order = order
        self.rank = np.argsort(order)
        self.images_of = [order[column[order]] for column in labels.T]

    def deal_labels(self):
        """Deals the images of the rarest label first, until none has a label left."""
        while (self.left > 0).any():
            label = int(np.where(self.left > 0, self.left, np.inf).argmin())
            waiting = [i for i in self.images_of[label] if self.part[i] < 0]
            for part in (TRAIN, VAL):
                chosen = self._first_of_label(label, part, waiting)
                if chosen is not None:
                    self._deal(chosen, part)
                    waiting.remove(chosen)
            for image in waiting:
                self._deal(image, self._greedy(image, label))

    def deal_rest(self):
        """Deals the images without labels to the room that is left."""
        rest = [i for i in self.order if self.part[i] < 0]
        self.part[rest] = np.repeat(np.arange(len(self.room)), self.room)

    def _first_of_label(self, label, part, waiting):
        """Returns the image that gives a part its first of a label, if one can."""
        if part >= len(self.room) or not self.room[part] or self.found[part, label]:
            return None
        if self.total[label] < 2 and part != TRAIN:
            return None
        able = [i for i in waiting if part == TRAIN or not self._strands(i)]
        if not able:
            return None
        # The image that gives the part most labels that it lacks; first at random.
        return max(able, key=lambda i: (self.found[part, self.labels_of[i]] == 0).sum())

    def _strands(self, image):
        """Whether training could have no image of a label without this one."""
        own = self.labels_of[image]
        return bool(((self.found[TRAIN, own] == 0) & (self.left[own] == 1)).any())

    def _greedy(self, image, label):
        """Returns the part that wants the label most; of equals, that with room."""
        if self.room[TRAIN] and self._strands(image):
            return TRAIN
        parts = np.flatnonzero(self.room)
        wanted = self.wanted[parts, label]
        best = parts[wanted >= wanted.max() - 1e-9]
        room = self.room[best]
        best = best[room == room.max()]
        return int(best[self.rank[image] % len(best)])

    def _deal(self, image, part):
        own = self.labels_of[image]
        self.part[image] = part
        self.room[part] -= 1
        self.wanted[part, own] -= 1
        self.found[part, own] += 1
        self.left[own] -= 1

    def swap_in(self, part):
        """Exchanges images so that a part gets labels that it still lacks."""
        if part >= len(self.room) or not (self.part == part).any():
            return
        tries = MAX_TRIES
        for label in np.flatnonzero((self.found[part] == 0) & (self.total >= 2)):
            if self.found[part, label]:
                continue
            members = [i for i in self.order if self.part[i] == part]
            able = (i for i in self.images_of[label] if self._can_leave(i, part))
            for image, other in itertools.product(able, members):
                tries -= 1
                if self._gain(part, image, other) > 0:
                    self._exchange(image, other)
                    break
                if not tries:
                    return

    def _gain(self, part, image, other):
        """How many labels a part gains by an image in exchange for another one."""
        has, own, lost = self.found[part], self.labels_of[image], self.labels_of[other]
        gained = (has[own] == 0) & (self.total[own] >= 2)
        only = lost[(has[lost] == 1) & (self.total[lost] >= 2)]
        return gained.sum() - len(np.setdiff1d(only, own))

    def _can_leave(self, image, to):
        """Whether training keeps, without an image, a positive of each label."""
        if to == TRAIN or self.part[image] != TRAIN:
            return True
        own = self.labels_of[image]
        return bool(((self.found[TRAIN, own] > 1) | (self.total[own] < 2)).all())

    def _exchange(self, one, other):
        for image, to in ((one, self.part[other]), (other, self.part[one])):
            own = self.labels_of[image]
            self.found[self.part[image], own] -= 1
            self.found[to, own] += 1
            self.part[image] = to
