"""How good the cats of a checkpoint are: figures compared with those of real photos, and sheets to look at.

    .venv/bin/pip install -c constraints.txt -e '.[evaluate]'
    .venv/bin/python benchmarks/quality.py models/model.ckpt --data FOLDER --sheet s.png --neighbours n.png
    .venv/bin/python benchmarks/quality.py runs/001/models/model.ckpt-* --data FOLDER    # the best of a run

A folder of pictures can be given instead of a checkpoint.

- faces: fraction of the pictures in which OpenCV's cat face cascade finds a face, and its standard error. It
  finds more in soft pictures than in sharp ones: a rate above that of photos does not mean better cats.
- variety: mean distance between two pictures, in gray levels. If it is lower than for photos, the pictures
  differ less.
- closest: distance between the two most similar of the first 64 pictures, ignoring brightness and contrast,
  then their numbers. For photos, the median over sets of 64. If it is far lower, two cats are the same.
- pattern: power at the frequencies of patterns that repeat every 2, 4 and 8 pixels, such as the checkerboards
  of transposed convolutions (Odena et al. 2016, doi:10.23915/distill.00003), relative to the power at nearby
  frequencies. Photos have 1; noise and blur do not change it.
- swd: how far the pictures' details are from those of photos, at each size from the pictures' own downwards:
  the sliced Wasserstein distance between patches of a Laplacian pyramid, times 1,000 (Karras et al. 2018,
  arXiv:1710.10196, section 5 and their code). Lower is better; the photos' own row compares them with other
  photos. Blur, noise and wrong contrast raise it; broken faces hardly do.
- colour: mean of red, green and blue, and their standard deviation, in gray levels.
- nearest: median distance from a picture to the most similar photo of --data, mirrored or not; for the
  photos, to the most similar other photo. If it is much lower than for photos, the generator may copy.
- copies: fraction of the pictures whose nearest photo is less than half as far as the mean of the 50 nearest,
  the criterion of Carlini et al. 2023 (arXiv:2301.13188), and the lowest such ratio. Photos copied with
  noise, blur or another brightness are all below one half; shifted by 4 of 128 pixels, six in seven are. So
  are 1 or 2 % of the photos themselves: they show a cat that another photo shows a second later.

FID and KID need networks that these programs download on their first run (this was not possible where this
was written). Compare 10,000 pictures with all photos; such figures are comparable only for equal numbers.

    catdcgan sample --count 10000 --out samples/
    pip install torch-fidelity && fidelity --fid --kid --input1 samples/ --input2 FOLDER    # --cpu or --gpu 0
    pip install clean-fid && python -c "from cleanfid import fid; print(fid.compute_fid('samples', 'FOLDER'))"
"""

import argparse
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from catdcgan import Dataset, image_grid, random_latents, read_architecture, sample, save_image
from catdcgan.run.checkpoint_files import ENDINGS

SIDE = 16  # pictures are compared at this size, where faces matter but hairs and small shifts do not
ALIKE = 64  # no two of this many pictures may look the same
COPY = 0.5  # fraction of the mean distance to the 50 nearest


class Neighbours(NamedTuple):
    """The photos most similar to each of n pictures, the nearest first."""

    distance: np.ndarray  # (n, k)
    number: np.ndarray  # (n, k), index of the photo
    mirrored: np.ndarray  # (n, k), whether the photo's mirror image is the one at this distance


def faces_found(images: np.ndarray) -> np.ndarray:
    """Whether OpenCV finds a cat's face in each of the uint8 images (n, size, size, 3): bool (n,)."""
    import cv2  # imported here, so that the rest can be tested without it

    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalcatface_extended.xml")

    def found(image: np.ndarray) -> bool:
        gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (192, 192))
        gray = cv2.equalizeHist(cv2.copyMakeBorder(gray, 48, 48, 48, 48, cv2.BORDER_REPLICATE))
        return len(cascade.detectMultiScale(gray, 1.05, 3, minSize=(96, 96))) > 0

    return np.array([found(image) for image in images])


def shrink(images: np.ndarray) -> np.ndarray:
    """Shrink uint8 images (n, size, size, 3) by averaging over squares: float32 (n, SIDE * SIDE * 3)."""
    box = Image.Resampling.BOX
    small = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), box)) for image in images]
    return np.array(small, np.float32).reshape(len(images), -1)


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale each vector (n, d) to mean 0 and standard deviation 1; a constant vector becomes 0."""
    centred = vectors - vectors.mean(1, keepdims=True)
    return np.asarray(centred / np.maximum(centred.std(1, keepdims=True), 1e-6))


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root mean square difference between each of (n, d) and each of (m, d) vectors: (n, m)."""
    squares = (one**2).mean(1)[:, None] + (other**2).mean(1) - one @ other.T * (2 / one.shape[1])
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def variety(images: np.ndarray) -> float:
    """Mean distance between two different images of (n, size, size, 3), in gray levels."""
    vectors = shrink(images)
    return float(distances(vectors, vectors).sum() / (len(images) * (len(images) - 1)))


def closest_pair(images: np.ndarray) -> tuple[float, int, int]:
    """The distance between the two most similar of images (n, size, size, 3), and their indices."""
    vectors = normalize(shrink(images))
    apart = distances(vectors, vectors)
    apart[np.tril_indices(len(images))] = np.inf
    one, other = divmod(int(apart.argmin()), len(images))
    return float(apart[one, other]), one, other


def grid_pattern(images: np.ndarray) -> tuple[float, float, float]:
    """How strong patterns with periods of 2, 4 and 8 pixels are in images (n, size, size, 3), size >= 32.

    For each period: the power at its frequencies that no shorter period has, each divided by the geometric
    mean of the power around it, on average. A window fades out the borders, whose jump has every frequency.
    """
    size = images.shape[1]
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    power = np.zeros((size, size))
    for start in range(0, len(images), 64):
        gray = images[start : start + 64] @ np.array([0.299, 0.587, 0.114], np.float32)
        gray -= gray.mean((1, 2), keepdims=True)
        power += (np.abs(np.fft.fft2(gray * window * window[:, None])) ** 2).sum(0)
    reach = min(6, size // 8 - 1)  # stops before the next such frequency
    offsets = np.arange(-reach, reach + 1)
    around = np.maximum(abs(offsets), abs(offsets[:, None])) > 2  # the window spreads a peak over 2

    def strength(period: int) -> float:
        unit, ratios = size // period, []
        for row in range(period):
            for column in range(period):
                if row % 2 or column % 2:
                    place = np.ix_((row * unit + offsets) % size, (column * unit + offsets) % size)
                    background = np.exp(np.log(power[place][around] + 1e-9).mean())
                    ratios.append(power[row * unit, column * unit] / background)
        return float(np.mean(ratios))

    return strength(2), strength(4), strength(8)


def blur(images: np.ndarray) -> np.ndarray:
    """Smooth float32 images (n, size, size, c) with the 5 x 5 Gaussian filter of image pyramids."""
    size = images.shape[1]
    for axis in (1, 2):
        lines = np.pad(images.swapaxes(0, axis), ((2, 2), (0, 0), (0, 0), (0, 0)), "reflect")
        weights = np.array((1, 4, 6, 4, 1), np.float32) / 16
        smooth = sum(weight * lines[start : start + size] for start, weight in enumerate(weights))
        images = np.asarray(smooth).swapaxes(0, axis)
    return images


def laplacian_pyramid(images: np.ndarray) -> list[np.ndarray]:
    """Split images (n, size, size, c) into the detail that each halving loses, and the rest at 16 px."""
    levels, images = [], images.astype(np.float32)
    while images.shape[1] > 16:
        smaller = blur(images)[:, ::2, ::2]
        enlarged = np.zeros_like(images)
        enlarged[:, ::2, ::2] = 4 * smaller
        levels.append(images - blur(enlarged))
        images = smaller
    return [*levels, images]


def patches(images: np.ndarray) -> np.ndarray:
    """Take 64 patches of 7 x 7 pixels from each of (n, size, size, c), and normalize their channels."""
    count, size, _, channels = images.shape
    row, column = np.random.default_rng(0).integers(0, size - 6, (2, count, 64, 1, 1))
    across = np.arange(7)
    taken = images[np.arange(count)[:, None, None, None], row + across[:, None], column + across]
    taken = taken.reshape(-1, 7, 7, channels)
    taken = (taken - taken.mean((0, 1, 2))) / (taken.std((0, 1, 2)) + 1e-9)
    return np.asarray(taken.reshape(len(taken), -1))


def sliced_wasserstein(one: np.ndarray, other: np.ndarray, directions: int = 256) -> float:
    """Distance between two sets of equally many points (n, d): the mean over random directions."""
    axes = np.random.default_rng(0).standard_normal((one.shape[1], directions), np.float32)
    axes /= np.linalg.norm(axes, axis=0)
    return float(np.abs(np.sort(one @ axes, 0) - np.sort(other @ axes, 0)).mean())


def details(images: np.ndarray) -> list[np.ndarray]:
    """The patches from each level of the images' pyramids; images are (n, size, size, c)."""
    return [patches(level) for level in laplacian_pyramid(images)]


def detail_distances(one: list[np.ndarray], other: list[np.ndarray]) -> list[float]:
    """The sliced Wasserstein distance, times 1,000, at each level, of equally many pictures' details."""
    return [1000 * sliced_wasserstein(a, b) for a, b in zip(one, other, strict=True)]


def find_neighbours(images: np.ndarray, photos: np.ndarray, count: int) -> Neighbours:
    """Find the `count` photos most similar to each image, mirrored or not; all uint8 (., size, size, 3)."""
    vectors, straight, mirror = (normalize(shrink(x)) for x in (images, photos, photos[:, :, ::-1]))
    parts = []
    for start in range(0, len(images), 256):  # a few megabytes at a time
        both = np.stack([distances(vectors[start : start + 256], each) for each in (straight, mirror)])
        nearer = both.min(0)
        order = np.argsort(nearer, 1)[:, :count]
        taken = (np.take_along_axis(each, order, 1) for each in (nearer, both[1] < both[0]))
        parts.append((next(taken), order, next(taken)))
    return Neighbours(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def copy_ratio(near: Neighbours) -> np.ndarray:
    """The distance to the nearest photo, divided by the mean distance to all that were found: (n,)."""
    return np.asarray(near.distance[:, 0] / near.distance.mean(1))


def neighbour_sheet(images: np.ndarray, photos: np.ndarray, near: Neighbours) -> Image.Image:
    """Make a grid of each image and the 3 photos nearest to it, two such groups in a row."""
    cells = []
    for number, image in enumerate(images):
        cells.append(image)
        for photo, mirrored in zip(near.number[number, :3], near.mirrored[number, :3], strict=True):
            cells.append(photos[photo][:, ::-1] if mirrored else photos[photo])
    return image_grid(np.stack(cells), columns=8)


def measure(images: np.ndarray, closest: str) -> str:
    """Measure pictures (n, size, size, 3) without comparing them: the first part of their table row."""
    found = faces_found(images).mean()
    error = np.sqrt(found * (1 - found) / len(images))
    pattern = " ".join(f"{strength:5.1f}" for strength in grid_pattern(images))
    mean, deviation = (f(images, axis=(0, 1, 2)) for f in (np.mean, np.std))
    colour = " ".join(f"{level:3.0f}" for level in (*mean, *deviation))
    return f"{found:.3f} ± {error:.3f} {variety(images):8.1f}  {closest:<15}{pattern}   {colour}"


def compare(near: Neighbours, swd: list[float]) -> str:
    """Compare pictures with photos, by their nearest photos and their details: the end of their row."""
    ratio = copy_ratio(near)
    copies = f"{np.mean(ratio < COPY):.3f} ({ratio.min():.2f})"
    levels = " ".join(f"{distance:4.0f}" for distance in swd) or "-"
    return f"    {np.median(near.distance[:, 0]):.2f}    {copies} {levels}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="CKPT", help="checkpoint, or folder of pictures")
    add("--data", metavar="FOLDER", help="the photos trained on; a cache is written into it, as in training")
    add("--count", type=int, default=1000, help="pictures of each (default 1000)")
    add("--seed", type=int, default=0, help="of the latents (default 0)")
    add("--z", choices=("uniform", "normal"), default="uniform", help="as trained with (default uniform)")
    add("--sheet", metavar="FILE", help="make a picture of the first 256, of one CKPT")
    add(
        "--neighbours", metavar="FILE", help="make a picture of the first 16 and the 3 photos nearest to each"
    )
    options = parser.parse_args()
    # A shell's * finds both files of a checkpoint: replace them with their common name.
    names = list(
        dict.fromkeys(name.removesuffix(ENDINGS[0]).removesuffix(ENDINGS[1]) for name in options.models)
    )
    if (options.sheet or options.neighbours) and len(names) > 1:
        parser.error("--sheet and --neighbours are pictures of one CKPT")
    if options.neighbours and not options.data:
        parser.error("--neighbours needs --data")
    if options.count < ALIKE:
        parser.error(f"--count is below {ALIKE}")
    if find_spec("cv2") is None:
        sys.exit("quality.py needs OpenCV: .venv/bin/pip install -c constraints.txt -e '.[evaluate]'")
    sizes = [read_architecture(name).image_size for name in names if not Path(name).is_dir()]

    def read(name: str) -> np.ndarray:
        if Path(name).is_dir():
            return Dataset(name, size=(sizes or [128])[0]).images
        latents = random_latents(options.count, read_architecture(name).z_dim, options.seed, options.z)
        images = sample(name, latents)
        return images.repeat(3 // images.shape[-1], axis=-1)  # gray as colour

    width = max(map(len, names))
    print(
        " " * width,
        "faces          variety  closest        pattern 2, 4, 8     colour: mean  deviation",
        end="",
    )
    print("  nearest  copies         swd" if options.data else "")
    if options.data:
        photos = read(options.data)
        order = np.random.default_rng(0).permutation(len(photos))
        some, rest = photos[order[: options.count]], photos[order[options.count :]]
        others = find_neighbours(some, photos, 51)
        others = Neighbours(*(part[:, 1:] for part in others))  # the first is the photo itself
        sets = np.array_split(some, max(1, len(some) // ALIKE))
        closest = f"{np.median([closest_pair(images)[0] for images in sets]):.2f}"

        @cache
        def photo_details(count: int) -> list[np.ndarray]:
            return details(some[:count])

        def swd(images: np.ndarray) -> list[float]:
            count = min(len(images), len(some))
            return detail_distances(details(images[:count]), photo_details(count)) if count else []

        print(f"{'photos':<{width}}", measure(some, closest) + compare(others, swd(rest)), flush=True)
    for name in names:
        images = read(name)[: options.count]
        distance, one, other = closest_pair(images[:ALIKE])
        row = measure(images, f"{distance:.2f} ({one}, {other})")
        if options.data:
            near = find_neighbours(images, photos, 50)
            row += compare(near, swd(images))
        print(f"{name:<{width}}", row, flush=True)
        if options.sheet:
            save_image(image_grid(images[:256]), options.sheet)
        if options.neighbours:
            save_image(neighbour_sheet(images[:16], photos, near), options.neighbours)


if __name__ == "__main__":
    main()
