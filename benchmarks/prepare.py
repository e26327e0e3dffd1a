"""How many photos `catdcgan prepare` crops in a second, compared with OpenCV making the same crop.

    .venv/bin/pip install -c constraints.txt -e '.[evaluate]'
    .venv/bin/python benchmarks/prepare.py ../shared/data/cat_annotated

The photos are copied several times, then the contenders crop them all in turn, round after round; the table
shows medians. OpenCV does it the plain way: decode, warp the face at its original size with a bicubic filter,
shrink it by area, write a PNG with OpenCV's default compression.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

try:
    import cv2
except ModuleNotFoundError:
    sys.exit("This compares with OpenCV: .venv/bin/pip install -c constraints.txt -e '.[evaluate]'")

from catdcgan.data.faces import EYES_AT, FaceError, face_square, read_annotation
from catdcgan.data.prepare import prepare_photos


def opencv(source: Path, out: Path, size: int = 128) -> int:
    """Crop each annotated photo of a folder with OpenCV on one core; return the number of faces written."""
    out.mkdir()
    written = 0
    for annotation in sorted(source.glob("*.cat")):
        try:
            eyes, angle, side = face_square(read_annotation(annotation.read_text()))
        except FaceError:
            continue
        if side < size:
            continue
        photo = cv2.imread(str(annotation.with_suffix("")), cv2.IMREAD_COLOR)
        native = round(side)
        matrix = cv2.getRotationMatrix2D(eyes, angle, native / side)
        matrix[:, 2] += EYES_AT * native - eyes
        gray = (128, 128, 128)
        face = cv2.warpAffine(photo, matrix, (native, native), flags=cv2.INTER_CUBIC, borderValue=gray)
        face = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out / f"{annotation.stem}.png"), face)
        written += 1
    return written


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, help="folder of photos with their .cat files")
    parser.add_argument("--copies", type=int, default=5, help="of each photo (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="of all ways in turn (default 5)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    contenders: dict[str, Callable[[Path, Path], object]] = {
        "OpenCV, one core": opencv,
        "catdcgan, one core": lambda source, out: prepare_photos(source, out, progress=False, workers=1),
        "catdcgan, two cores": lambda source, out: prepare_photos(source, out, progress=False, workers=2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "photos")
        source.mkdir()
        for file in options.photos.iterdir():
            for copy in range(options.copies):
                shutil.copy(file, source / f"{copy}_{file.name}")
        count = len(list(source.glob("*.cat")))
        for number in range(options.rounds + 1):
            for name, crop in contenders.items():
                out = Path(folder, "faces")
                start = time.perf_counter()
                crop(source, out)
                if number:  # the first round warms up the disk's cache
                    seconds[name].append(time.perf_counter() - start)
                shutil.rmtree(out)
    first = statistics.median(next(iter(seconds.values())))
    print(f"{count} photos, medians of {options.rounds} rounds")
    print(f"{'':<22} photos/s  to OpenCV")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:<22} {count / median:>8.1f}  {first / median:>9.2f}")


if __name__ == "__main__":
    main()
