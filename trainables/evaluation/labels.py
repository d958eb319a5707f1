"""Labels of generated images, in the proportions of the data however many images there are."""

from __future__ import annotations

import numpy as np

from trainables.randomness import key_of


class LabelSequence:
    """Labels of the generated images 0, 1, 2, ...: among the first n, each class occurs its share of the data times n, to less than one.

    Tijdeman 1980 ("The chairman assignment problem"): no sequence keeps closer to the shares.  `seed` decides which class comes first
    among equals, and with it which classes are seen where there are fewer images than classes.
    """

    def __init__(self, labels_N: np.ndarray, classes: int, seed: int) -> None:
        """`labels_N` are those of the data, 0 .. classes - 1."""
        order = np.random.Generator(np.random.Philox(key=key_of(seed, "evaluation labels"))).permutation(classes)
        count = np.bincount(labels_N, minlength=classes)[order]
        self._classes, self._count = order[count > 0], count[count > 0]  # of the classes that occur
        self._used = np.zeros_like(self._count)
        self._found: list[int] = []

    def __call__(self, first: int, count: int) -> np.ndarray:
        """Labels of the images first .. first + count - 1, [count] int64."""
        while len(self._found) < first + count:
            self._extend()
        return np.array(self._found[first : first + count], dtype=np.int64)

    def _extend(self) -> None:
        total, parts = int(self._count.sum()), max(2 * len(self._count) - 2, 1)
        lag = (len(self._found) + 1) * self._count - self._used * total  # in units of 1/total of an image
        due = (self._used + 1 - 1 / parts) / self._count  # grows with the number of images by which a class has to come once more
        chosen = int(np.argmin(np.where(lag * parts >= total, due, np.inf)))
        self._used[chosen] += 1
        self._found.append(int(self._classes[chosen]))
