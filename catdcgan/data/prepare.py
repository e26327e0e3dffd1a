"""Makes a folder of square faces from photos: the CAT dataset, unpacked or zipped, or any other photos.

Nothing is extracted from a zip to disk: its photos are read in memory. The only files written are pictures
below the folder `out`, each in an atomic write, and ``report.json`` in it.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import unicodedata
import warnings
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from catdcgan.data.faces import (
    LARGEST_ANNOTATION,
    AnnotationError,
    FaceError,
    SmallFaceError,
    crop_face,
    read_annotation,
    usable_square,
)
from catdcgan.data.listing import REPORT, annotation_of, is_annotation, passed_over_text
from catdcgan.data.photos import IMAGE_SUFFIXES, limit_decoding, open_image, square_pixels
from catdcgan.data.sources import Entries, Report, open_source
from catdcgan.errors import PrepareError
from catdcgan.files import atomic_write, parse_json, refuse_special
from catdcgan.output import check_folders
from catdcgan.screen import screen

DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # no file's name on Windows
# The dataset's two faults. Copies lack the photo 00000003_019.jpg and the annotation of 00000003_015.jpg; in
# some, the first's annotation is passed off as the second's. Its left eye, which lies on an ear, reveals it.
KNOWN_WRONG = {"00000003_019.jpg": "its annotation is known to be wrong"}
SUBSTITUTED_PHOTO, SUBSTITUTED_EYE = "00000003_015.jpg", (220, 215)


class _Photo(NamedTuple):
    name: str  # in the source, with "/" between folders
    annotation: str | None  # the name of its .cat file; None for a photo to be cut to its centre square
    target: Path


def prepare_photos(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    size: int = 128,
    keep_outliers: bool = False,
    progress: bool = True,
    workers: int | None = None,
) -> Report:
    """Write a PNG of `size` x `size` pixels for each photo's face.

    A source with a ``NAME.jpg.cat`` is treated as the CAT dataset: faces are cropped as in `crop_face`, all
    into one folder, and photos without an annotation are skipped. Of other photos the centre square is taken,
    and their subfolders are kept. Pictures that already exist in the right size are not made again. The
    report tells what was skipped and why; it is also written to ``report.json`` in `out`.

    Args:
        source: folder, read with its subfolders, or zip file.
        out: folder to write to; created if needed.
        size: side of the pictures in pixels. A smaller face or photo is skipped.
        keep_outliers: also take the photos named in ``cat_dataset_outliers.txt``.
        progress: show a bar.
        workers: number of threads; by default one for each core.

    Raises:
        PrepareError: there is no such source, it holds no photos, or it is a damaged or encrypted zip; or
            `out` is or contains the source, or holds pictures from another source.
        InputError: the source is the folder of a run, or `out` a file or a folder that may not be written to.
        OSError: the source cannot be read, or `out` cannot be written to.
        ValueError: `size` or `workers` is below 1.
    """
    if size < 1 or (workers is not None and workers < 1):
        raise ValueError(f"size and workers must be at least 1, not {size} and {workers}")
    source, out, report = Path(source), Path(out), Report()
    check_folders(out)
    with open_source(source, out, report) as entries:
        earlier = _earlier_pictures(out, source) or {}
        photos = _plan(entries, out, keep_outliers, report, earlier)
        if not report.photos + len(photos):
            expected = f"expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            others = passed_over_text([PurePosixPath(name) for name in report.passed_over])
            raise PrepareError(f"no photos in {source}: {'; '.join(filter(None, (expected, others)))}")
        _claim(out, source, photos, earlier)
        Image.init()  # here, not in several threads at once
        # Pillow releases the GIL while it decodes, turns, resizes and compresses. That is six sevenths of the
        # work, so threads are as good as processes, and they start and stop at once.
        pool = ThreadPoolExecutor(workers or os.cpu_count())
        bar = tqdm(total=len(photos), desc="preparing", unit="photo", disable=not progress, file=screen())
        with bar, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd but readable photos
            try:
                work = partial(_prepare_photo, entries, out, size, report)
                results = map(work, photos) if workers == 1 else pool.map(work, photos)
                for photo, (section, detail) in zip(photos, results, strict=True):
                    section[photo.name] = detail
                    bar.update()
            finally:  # on Ctrl-C too: photos in progress are finished, the others are not begun
                pool.shutdown(cancel_futures=True)
    made = report.already_there | report.written
    unmade = {name: picture for name, picture in earlier.items() if name not in made}
    report.left_over |= {name: picture for name, picture in unmade.items() if (out / picture).exists()}
    pictures = earlier | made
    facts = {"summary": report.summary(), "size": size, **asdict(report), "pictures": pictures}
    _write_report(out, source, facts)
    return report


def _claim(out: Path, source: Path, photos: list[_Photo], earlier: Mapping[str, str]) -> None:
    """Record in `out`, before the first picture is written, which source its pictures come from.

    Raises:
        PrepareError: a picture exists that may come from another source.
    """
    existing = next((photo.target for photo in photos if os.path.exists(photo.target)), None)
    # The report is read again, because the same command may have been started in another window.
    if existing and _earlier_pictures(out, source) is None:
        raise PrepareError(
            f"{existing} is there already, and no {REPORT} says that it was made of {source}: "
            "choose another folder"
        )
    pictures = {photo.name: photo.target.relative_to(out).as_posix() for photo in photos}
    _write_report(out, source, {"summary": "not finished", "pictures": {**earlier, **pictures}})


def _write_report(out: Path, source: Path, facts: Mapping[str, object]) -> None:
    text = json.dumps({"source": str(source.resolve()), **facts}, indent=1)
    with atomic_write(out / REPORT) as unfinished:
        unfinished.write_bytes(text.encode())


def _earlier_pictures(out: Path, source: Path) -> dict[str, str] | None:
    """The picture that each photo got in an earlier run, finished or not, according to its report.

    Returns:
        {photo: picture below `out`}; None if there is no report, or it does not name its source.

    Raises:
        PrepareError: the report names another source.
        InputError: the report is a named pipe or a device.
    """
    refuse_special(out / REPORT)
    try:
        record = parse_json((out / REPORT).read_bytes())
    except (FileNotFoundError, ValueError):  # no report, or not JSON
        return None
    match record:
        case {"source": str(of), "pictures": dict(pictures)} if of == str(source.resolve()):
            return {str(photo): str(picture) for photo, picture in pictures.items()}
        case {"source": str(of), "pictures": dict()}:
            raise PrepareError(
                f"{out} holds pictures made from {of}: choose another folder for those of {source}, "
                f"such as {out / source.resolve().stem}"
            )
    return None


def _prepare_photo(
    entries: Entries, out: Path, size: int, report: Report, photo: _Photo
) -> tuple[dict[str, str], str]:
    """Make one picture; returns the report's section for it, and the picture's name or the reason."""
    try:
        if _is_finished(photo.target, size):
            return report.already_there, photo.target.relative_to(out).as_posix()
        picture = _face(entries, photo, size) if photo.annotation else _square(entries, photo, size)
    except SmallFaceError as error:
        return report.too_small, str(error)
    except (AnnotationError, FaceError) as error:
        return report.wrong_annotation, str(error)
    except Exception as error:  # decoders raise all kinds of errors; none of them may end the run
        return report.unreadable, f"{error}" or type(error).__name__
    file = io.BytesIO()
    # Run-length encoding compresses a photo as well as the default strategy, in less than half the time.
    picture.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    try:
        with atomic_write(photo.target) as unfinished:
            unfinished.write_bytes(file.getvalue())
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return report.refused, "the name is too long to write"
    return report.written, photo.target.relative_to(out).as_posix()


def _face(entries: Entries, photo: _Photo, size: int) -> Image.Image:
    assert photo.annotation
    text = entries.read(photo.annotation, LARGEST_ANNOTATION).decode("utf-8-sig", "replace")
    landmarks = read_annotation(text)
    if PurePosixPath(photo.name).name == SUBSTITUTED_PHOTO and tuple(landmarks[0]) == SUBSTITUTED_EYE:
        raise AnnotationError("the annotation is another photo's")
    with open_image(entries.open(photo.name)) as image:
        # Landmarks are in pixels of the photo as stored, whatever its EXIF says: in 2008 hardly any program
        # read it, and the crop levels the eyes anyway. The face stays at least 1.5 times as large as the
        # picture, which is the size that the crop itself reduces it to.
        width, height = image.size
        keep = 1.5 * size / usable_square(landmarks, image.size, size).side
        limit_decoding(image, math.ceil(width * keep), math.ceil(height * keep))
        return crop_face(image, landmarks / round(width / image.width), size)


def _square(entries: Entries, photo: _Photo, size: int) -> Image.Image:
    with open_image(entries.open(photo.name)) as image:
        if min(image.size) < size:
            raise SmallFaceError(f"the photo has {image.width} x {image.height} pixels, a side below {size}")
        return Image.fromarray(square_pixels(image, size))


def _is_finished(target: Path, size: int) -> bool:
    try:
        with Image.open(target, formats=("PNG",)) as image:
            return image.size == (size, size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


# Choosing the photos, and the names of their pictures.


def _plan(
    entries: Entries, out: Path, keep_outliers: bool, report: Report, earlier: Mapping[str, str]
) -> list[_Photo]:
    """Choose the photos to prepare and the names of their pictures; report all other photos."""
    names = [name for name in entries.sizes if not is_annotation(name)]
    annotated = {name for name in names if annotation_of(name) in entries.sizes}
    orphans = {name for name in entries.sizes if is_annotation(name)} - {*map(annotation_of, annotated)}
    is_cat_dataset = bool(annotated or orphans)
    for name in sorted(orphans):
        report.without_photo[name] = f"there is no {PurePosixPath(name).stem}"
    outliers = set((package_files("catdcgan.data") / "cat_dataset_outliers.txt").read_text("ascii").split())
    chosen = []
    seen: dict[tuple[str, int], str] = {}
    # Annotated photos first, in case a zip holds a photo twice.
    for name in sorted(names, key=lambda name: (name not in annotated, name)):
        file_name = PurePosixPath(name).name
        if not is_cat_dataset:
            chosen.append(name)
        elif (first := seen.setdefault((file_name, entries.sizes[name]), name)) != name:
            report.duplicates[name] = f"the same as {first}"
        elif name not in annotated:
            report.without_annotation[name] = f"there is no {annotation_of(file_name)} beside it"
        elif file_name in KNOWN_WRONG:
            report.wrong_annotation[name] = KNOWN_WRONG[file_name]
        elif file_name in outliers and not keep_outliers:
            report.outliers[name] = "in the list of the CAT dataset's outliers"
        else:
            chosen.append(name)
    targets = _targets(chosen, is_cat_dataset, earlier)
    return [
        _Photo(name, annotation_of(name) if is_cat_dataset else None, out / target)
        for name, target in zip(chosen, targets, strict=True)
    ]


def _targets(names: list[str], flat: bool, earlier: Mapping[str, str]) -> list[str]:
    """A name for each picture: valid on every system, and unique even where case is ignored.

    A picture keeps its name in `earlier`, so photos that were added since cannot take it.
    """
    stems = [_safe(PurePosixPath(name).name if flat else name).rpartition(".")[0] for name in names]
    taken = {_folded(str(folder)) for stem in stems for folder in PurePosixPath(stem).parents}
    taken |= {_folded(target) for target in earlier.values()}
    targets = []
    for name, stem in zip(names, stems, strict=True):
        target, number = earlier.get(name, ""), 1
        if not re.fullmatch(re.escape(stem) + r"(-\d+)?\.png", target):
            target = f"{stem}.png"
            while _folded(target) in taken:
                number += 1
                target = f"{stem}-{number}.png"
            taken.add(_folded(target))
        targets.append(target)
    return targets


def _safe(name: str) -> str:
    """The name without what Windows does not allow, so that everywhere it is a file below a folder."""
    parts = (
        re.sub(r'[\x00-\x1f\x7f<>:"|?*\\]', "_", part).rstrip(". ") for part in PurePosixPath(name).parts
    )
    return "/".join(f"_{part}" if not part or DEVICE.match(part) else part for part in parts)


def _folded(name: str) -> str:
    """The form under which file systems that ignore case compare names."""
    return unicodedata.normalize("NFC", name).casefold()
