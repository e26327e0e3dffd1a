"""The figures of a set of pictures, and the table that compares several sets.

- faces: fraction of the pictures in which OpenCV's cat face cascade finds a face, and its standard error. It
  finds more in soft pictures than in sharp ones: a rate above that of photos does not mean better cats.
- variety: mean distance between two pictures, in gray levels. If it is lower than for photos, the pictures
  differ less.
- closest: distance between the two most similar of the first 64 pictures, ignoring brightness and contrast,
  and their numbers. For photos, the median over sets of 64. If it is far lower, two cats are the same.
- pattern: power at the frequencies of patterns that repeat every 2, 4 and 8 pixels, such as the checkerboards
  of transposed convolutions (Odena et al. 2016, doi:10.23915/distill.00003), relative to the power at nearby
  frequencies. Photos have 1; noise and blur do not change it.
- swd: how far the pictures' details are from those of photos, at each size from the pictures' own downwards:
  the sliced Wasserstein distance between patches of a Laplacian pyramid, times 1,000 (Karras et al. 2018,
  arXiv:1710.10196, section 5 and their code). Lower is better; the photos' own column compares them with
  other photos. Blur, noise and wrong contrast raise it; broken faces hardly do.
- mean and deviation: of red, green and blue, in gray levels.
- nearest: median distance from a picture to the most similar photo, mirrored or not; for the photos, to the
  most similar other photo. If it is much lower than for photos, the generator may copy.
- copies: fraction of the pictures whose nearest photo is less than half as far as the mean of the 50 nearest,
  the criterion of Carlini et al. 2023 (arXiv:2301.13188), and the lowest such ratio. Photos copied with
  noise, blur or another brightness are all below one half; shifted by 4 of 128 pixels, six in seven are. So
  are 1 or 2 % of the CAT dataset's photos themselves: they show a cat that another shows a second later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from catdcgan.evaluate.details import detail_distances, details, grid_pattern
from catdcgan.evaluate.faces import can_find_faces, faces_found
from catdcgan.evaluate.likeness import (
    COPY,
    Neighbours,
    closest_pair,
    copy_ratio,
    find_neighbours,
    variety,
)

ALIKE = 64  # no two of this many pictures may look the same
NEAREST = 50  # photos that a copy is compared with

Figures = dict[str, Any]  # by name; JSON can hold them

# A row of the table: its name, what it needs, and how it is written.
ROWS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("faces found", ("faces", "faces_error"), "{:.3f} ± {:.3f}"),
    ("variety, in gray levels", ("variety",), "{:.1f}"),
    ("two most alike of 64 (photos: median of sets)", ("closest",), "{:.2f}"),
    ("pattern of 2, 4, 8 pixels, times the power around", ("pattern",), "{:.1f}"),
    ("mean red, green, blue", ("mean",), "{:.0f}"),
    ("deviation of red, green, blue", ("deviation",), "{:.0f}"),
    ("distance to the nearest photo", ("nearest",), "{:.2f}"),
    ("copies of photos; lowest ratio (a copy is below 0.5)", ("copies", "lowest_ratio"), "{:.3f}; {:.2f}"),
    ("swd (details) at {sizes} pixels", ("swd",), "{:.0f}"),
)


def measure(images: np.ndarray, progress: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]) -> Figures:
    """Measure pictures by themselves; the module's text explains the figures.

    Args:
        images: uint8 (n, size, size, 3), at least `ALIKE`.
        progress: passes images on and shows how many have passed.

    Returns:
        The figures; those of faces are None without OpenCV.
    """
    faces: Figures = {"faces": None, "faces_error": None}
    if can_find_faces():
        found = float(np.mean(list(faces_found(progress(images)))))
        faces = {"faces": found, "faces_error": float(np.sqrt(found * (1 - found) / len(images)))}
    distance, one, other = closest_pair(images[:ALIKE])
    return faces | {
        "variety": variety(images),
        "closest": distance,
        "closest_pair": [one, other],
        "pattern": list(grid_pattern(images)),
        "mean": images.mean((0, 1, 2)).tolist(),
        "deviation": images.std((0, 1, 2)).tolist(),
    }


class Photos:
    """Photos that pictures are compared with."""

    def __init__(self, photos: np.ndarray, count: int) -> None:
        """Compare with `photos`, uint8 (n, size, size, 3); the details with `count` of them at most."""
        order = np.random.default_rng(0).permutation(len(photos))
        self.all, self.some, self._rest = photos, photos[order[:count]], photos[order[count:]]
        self._details = cache(lambda count: details(self.some[:count]))

    def compare(self, images: np.ndarray) -> tuple[Figures, Neighbours]:
        """The figures of pictures (n, size, size, 3) beside the photos, and the photos nearest to each."""
        near = find_neighbours(images, self.all, NEAREST)
        return _likeness(near) | {"swd": self._swd(images)}, near

    def measure_themselves(self, progress: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]) -> Figures:
        """The figures of the photos, as for pictures: each beside all others."""
        figures = measure(self.some, progress)
        sets = np.array_split(self.some, max(1, len(self.some) // ALIKE))
        figures |= {
            "closest": float(np.median([closest_pair(each)[0] for each in sets])),
            "closest_pair": None,
        }
        near = find_neighbours(self.some, self.all, NEAREST + 1)
        others = Neighbours(*(part[:, 1:] for part in near))  # the first is the photo itself
        return figures | _likeness(others) | {"swd": self._swd(self._rest)}

    def _swd(self, images: np.ndarray) -> list[float] | None:
        """The distances at each level, of as many pictures as photos; None if there are too few."""
        count = min(len(images), len(self.some))
        return detail_distances(details(images[:count]), self._details(count)) if count >= ALIKE else None


def _likeness(near: Neighbours) -> Figures:
    ratio = copy_ratio(near)
    return {
        "nearest": float(np.median(near.distance[:, 0])),
        "copies": float(np.mean(ratio < COPY)),
        "lowest_ratio": float(ratio.min()),
    }


def table(columns: Mapping[str, Figures], size: int) -> list[list[str]]:
    """The figures of several sets of pictures of side `size`: a row for each figure, a column for each set.

    The first row and the first column are the names. "-" stands for what was not measured.
    """
    levels = [size]
    while levels[-1] > 16:
        levels.append((levels[-1] + 1) // 2)
    sizes = ", ".join(map(str, levels))
    rows = [["", *columns]]
    for name, keys, form in ROWS:
        cells = [_cell([figures.get(key) for key in keys], form) for figures in columns.values()]
        if set(cells) != {"-"}:
            rows.append([name.format(sizes=sizes), *cells])
    return rows


def _cell(values: list[Any], form: str) -> str:
    if None in values:
        return "-"
    if isinstance(values[0], list):
        return ", ".join(form.format(value) for value in values[0])
    return form.format(*values)
