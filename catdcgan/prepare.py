"""From photos to a folder of square faces: the CAT dataset, unpacked or as its zip, or any other photos.

Nothing is extracted from a zip: its photos are read in memory, and the only files written are pictures below
the folder `out`, under a temporary name until they are whole, and ``report.json`` in it.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import stat
import struct
import unicodedata
import warnings
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image
from tqdm import tqdm

from catdcgan.data import IMAGE_SUFFIXES, is_picture, limit_decoding, open_image, square_pixels
from catdcgan.errors import InputError
from catdcgan.faces import (
    AnnotationError,
    FaceError,
    SmallFaceError,
    crop_face,
    read_annotation,
    usable_square,
)
from catdcgan.files import whole_or_nothing
from catdcgan.folder import find_files, goes_with_pictures, is_left_out, passed_over_text
from catdcgan.run import RUN_NAME
from catdcgan.screen import screen

LARGEST_ANNOTATION = 4096  # bytes
LARGEST_MEMBER = 200_000_000  # bytes of one photo in a zip
LARGEST_ZIP = 100_000_000_000  # bytes of all photos in it: the CAT dataset, twice, is 4 GB
LARGEST_RATIO = 200  # of unpacked to packed, for members beyond a megabyte; a photo's is 1, a bomb's 1000
REPORT = "report.json"
NO_PICTURE = "its name does not end as a picture's"

# The dataset's two faults. Copies lack the photo of the first annotation, and the annotation of the second
# photo; in some the one is passed off as the other. It is told by its left eye, which lies on an ear.
KNOWN_WRONG = {"00000003_019.jpg": "its annotation is known to be wrong"}
SUBSTITUTED_PHOTO, SUBSTITUTED_EYE = "00000003_015.jpg", (220, 215)


class PrepareError(InputError):
    """The source or the folder to write to cannot be used; the message names it and the remedy."""


@dataclass
class Report:
    """What became of each photo, by its name in the source: the picture it became, or why it was skipped."""

    written: dict[str, str] = field(default_factory=dict)
    already_there: dict[str, str] = field(default_factory=dict)
    too_small: dict[str, str] = field(default_factory=dict)
    outliers: dict[str, str] = field(default_factory=dict)
    without_annotation: dict[str, str] = field(default_factory=dict)
    wrong_annotation: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    duplicates: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # unsafe members of a zip, names too long
    without_photo: dict[str, str] = field(default_factory=dict)  # annotations
    passed_over: dict[str, str] = field(default_factory=dict)  # files that do not end as pictures do

    @property
    def photos(self) -> int:
        """How many photos the source holds."""
        no_photos = ("without_photo", "passed_over")
        return sum(len(names) for what, names in asdict(self).items() if what not in no_photos)

    def summary(self) -> str:
        """One line: ``40 photos: 27 written, 10 too small, 3 outliers``."""
        counts = {what.replace("_", " "): len(names) for what, names in asdict(self).items()}
        counts["annotations without photo"] = counts.pop("without photo")
        counts["other files passed over"] = counts.pop("passed over")
        parts = [f"{counts.pop('written')} written"]
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        return f"{self.photos} photo{'s' * (self.photos != 1)}: {', '.join(parts)}"


class _Photo(NamedTuple):
    name: str  # in the source, with "/" between folders
    annotation: str | None  # the name of its .cat file; None for a photo to be cut to its centre square
    target: Path


def prepare(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    size: int = 128,
    keep_outliers: bool = False,
    progress: bool = True,
    workers: int | None = None,
) -> Report:
    """Write a PNG of `size` x `size` pixels for each photo's face.

    A source that holds a ``NAME.jpg.cat`` is the CAT dataset: faces are cropped as `crop_face` does, all into
    one folder, and a photo without annotation is skipped. Of other photos the centre square is taken, and
    their folders are kept. Pictures that are there already in the right size are not made again. What was
    skipped, and why, is in the report, which is also written to ``report.json`` in `out`.

    Args:
        source: folder (and the folders in it) or zip file.
        out: folder to write to; made if need be.
        size: side of the pictures in pixels. A smaller face or photo is skipped.
        keep_outliers: also take the photos named in ``cat_dataset_outliers.txt``.
        progress: show a bar.
        workers: threads; by itself one for each core.

    Raises:
        PrepareError: no such source, no photo in it, a damaged or encrypted zip; or `out` is or holds the
            source, or holds pictures of another one.
        InputError: the source is the folder of a run.
        OSError: the source cannot be read, or `out` not be written to.
        ValueError: `size` or `workers` is below 1.
    """
    if size < 1 or (workers is not None and workers < 1):
        raise ValueError(f"size and workers must be at least 1, not {size} and {workers}")
    source, out, report = Path(source), Path(out), Report()
    with _open_source(source, out, report) as entries:
        earlier = _earlier_pictures(out, source) or {}
        photos = _plan(entries, out, keep_outliers, report, earlier)
        if not report.photos + len(photos):
            expected = f"expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            others = passed_over_text([PurePosixPath(name) for name in report.passed_over])
            raise PrepareError(f"no photos in {source}: {'; '.join(filter(None, (expected, others)))}")
        _claim(out, source, photos, earlier)
        Image.init()  # now, and not in several threads at once
        # Pillow lets go of the interpreter lock while it decodes, turns, resizes and packs: that is six
        # sevenths of the work, so threads do what processes would, and start at once and end together.
        pool = ThreadPoolExecutor(workers or os.cpu_count())
        bar = tqdm(total=len(photos), desc="preparing", unit="photo", disable=not progress, file=screen())
        with bar, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of photos that are odd, but can be read
            try:
                work = partial(_prepare_photo, entries, out, size)
                results = map(work, photos) if workers == 1 else pool.map(work, photos)
                for photo, (what, detail) in zip(photos, results, strict=True):
                    getattr(report, what)[photo.name] = detail
                    bar.update()
            finally:  # on Ctrl-C too: the photos under way are finished, the others not begun
                pool.shutdown(cancel_futures=True)
    pictures = earlier | report.already_there | report.written
    facts = {"summary": report.summary(), "size": size, **asdict(report), "pictures": pictures}
    _write_report(out, source, facts)
    return report


def _claim(out: Path, source: Path, photos: list[_Photo], earlier: Mapping[str, str]) -> None:
    """Note in `out`, before the first picture is written, whose pictures come there.

    Raises:
        PrepareError: a picture is there that may be another source's.
    """
    there = next((photo.target for photo in photos if os.path.exists(photo.target)), None)
    # The report is read again, as the same command may have begun in another window meanwhile.
    if there and _earlier_pictures(out, source) is None:
        raise PrepareError(
            f"{there} is there already, and no {REPORT} says that it was made of {source}: "
            "choose another folder"
        )
    pictures = {photo.name: photo.target.relative_to(out).as_posix() for photo in photos}
    _write_report(out, source, {"summary": "not finished", "pictures": {**earlier, **pictures}})


def _write_report(out: Path, source: Path, facts: Mapping[str, object]) -> None:
    text = json.dumps({"source": str(source.resolve()), **facts}, indent=1)
    with whole_or_nothing(out / REPORT) as unfinished:
        unfinished.write_bytes(text.encode())


def _earlier_pictures(out: Path, source: Path) -> dict[str, str] | None:
    """The picture that each photo of the source got in an earlier run, finished or not, as its report says.

    Returns:
        {photo: picture below `out`}; None if there is no report, or it does not tell its source.

    Raises:
        PrepareError: the report is of another source.
    """
    try:
        record = json.loads((out / REPORT).read_bytes())
    except (FileNotFoundError, ValueError):  # no report, or no JSON
        return None
    match record:
        case {"source": str(of), "pictures": dict(pictures)} if of == str(source.resolve()):
            return {str(photo): str(picture) for photo, picture in pictures.items()}
        case {"source": str(of), "pictures": dict()}:
            raise PrepareError(
                f"{out} holds pictures made of {of}: choose another folder for those of {source}, "
                f"such as {out / source.resolve().stem}"
            )
    return None


def _prepare_photo(entries: _Entries, out: Path, size: int, photo: _Photo) -> tuple[str, str]:
    """Make one picture; returns the report's heading, and the picture's name or the reason."""
    try:
        if _is_finished(photo.target, size):
            return "already_there", photo.target.relative_to(out).as_posix()
        picture = _face(entries, photo, size) if photo.annotation else _square(entries, photo, size)
    except SmallFaceError as error:
        return "too_small", str(error)
    except (AnnotationError, FaceError) as error:
        return "wrong_annotation", str(error)
    except Exception as error:  # decoders meet a damaged file with almost any error; none may end the run
        return "unreadable", f"{error}" or type(error).__name__
    file = io.BytesIO()
    # Run lengths pack a photo as well as the default's search for repeats, in less than half its time.
    picture.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    try:
        with whole_or_nothing(photo.target) as unfinished:
            unfinished.write_bytes(file.getvalue())
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return "refused", "the name is too long to write"
    return "written", photo.target.relative_to(out).as_posix()


def _face(entries: _Entries, photo: _Photo, size: int) -> Image.Image:
    assert photo.annotation
    text = entries.read(photo.annotation, LARGEST_ANNOTATION).decode("utf-8-sig", "replace")
    landmarks = read_annotation(text)
    if PurePosixPath(photo.name).name == SUBSTITUTED_PHOTO and tuple(landmarks[0]) == SUBSTITUTED_EYE:
        raise AnnotationError("the annotation is another photo's")
    with open_image(entries.open(photo.name)) as image:
        # Landmarks are in pixels of the photo as stored, whatever EXIF says: in 2008 hardly a program heeded
        # it, and the crop levels the eyes anyhow. The face stays at least 1.5 times as large as wanted, which
        # is what the crop itself reduces it to.
        width, height = image.size
        keep = 1.5 * size / usable_square(landmarks, image.size, size).side
        limit_decoding(image, math.ceil(width * keep), math.ceil(height * keep))
        return crop_face(image, landmarks / round(width / image.width), size)


def _square(entries: _Entries, photo: _Photo, size: int) -> Image.Image:
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


# Which photos, and under which names.


def _plan(
    entries: _Entries, out: Path, keep_outliers: bool, report: Report, earlier: Mapping[str, str]
) -> list[_Photo]:
    """Choose the photos to work on, and their pictures' names; all others go to the report."""
    names = [name for name in entries.sizes if not _is_annotation(name)]
    annotated = {name for name in names if f"{name}.cat" in entries.sizes}
    orphans = {name for name in entries.sizes if _is_annotation(name)} - {f"{name}.cat" for name in annotated}
    is_cat_dataset = bool(annotated or orphans)
    for name in sorted(orphans):
        report.without_photo[name] = f"there is no {PurePosixPath(name).stem}"
    outliers = set((package_files("catdcgan") / "cat_dataset_outliers.txt").read_text("ascii").split())
    chosen = []
    seen: dict[tuple[str, int], str] = {}
    # The annotated one first, should the zip hold a photo twice.
    for name in sorted(names, key=lambda name: (name not in annotated, name)):
        file_name = PurePosixPath(name).name
        if not is_cat_dataset:
            chosen.append(name)
        elif (first := seen.setdefault((file_name, entries.sizes[name]), name)) != name:
            report.duplicates[name] = f"the same as {first}"
        elif name not in annotated:
            report.without_annotation[name] = f"there is no {file_name}.cat beside it"
        elif file_name in KNOWN_WRONG:
            report.wrong_annotation[name] = KNOWN_WRONG[file_name]
        elif file_name in outliers and not keep_outliers:
            report.outliers[name] = "in the list of the CAT dataset's outliers"
        else:
            chosen.append(name)
    targets = _targets(chosen, is_cat_dataset, earlier)
    return [
        _Photo(name, f"{name}.cat" if is_cat_dataset else None, out / target)
        for name, target in zip(chosen, targets, strict=True)
    ]


def _targets(names: list[str], flat: bool, earlier: Mapping[str, str]) -> list[str]:
    """A name for each picture: safe on every system, and no two alike, even where case is ignored.

    A photo's picture keeps the name that it has in `earlier`: photos that were added since take no other's.
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
    """The name without what Windows does not take, so that it means one file below a folder everywhere."""
    parts = (
        re.sub(r'[\x00-\x1f\x7f<>:"|?*\\]', "_", part).rstrip(". ") for part in PurePosixPath(name).parts
    )
    return "/".join(part or "_" for part in parts)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_annotation(name: str) -> bool:
    return name.endswith(".cat")


def _is_wanted(name: str) -> bool:
    return is_picture(name.removesuffix(".cat"))


# Where photos come from.


class _Entries(ABC):
    """Photos and annotations of a source, and their sizes in bytes."""

    sizes: dict[str, int]

    @abstractmethod
    def open(self, name: str) -> Any:
        """What `PIL.Image.open` takes."""

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """The first bytes of a file."""


class _FolderEntries(_Entries):
    def __init__(self, folder: Path, out: Path, report: Report) -> None:
        found = find_files(folder, _is_wanted, [out])  # what an earlier run has written is no source
        self.folder = folder
        self.sizes = {self._name(file): size for file, size in found.files.items()}
        report.unreadable |= {self._name(file): reason for file, reason in found.unusable}
        report.passed_over |= dict.fromkeys(map(self._name, found.passed_over), NO_PICTURE)

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def open(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str, limit: int) -> bytes:
        with (self.folder / name).open("rb") as file:
            return file.read(limit)


class _ZipEntries(_Entries):
    def __init__(self, archive: zipfile.ZipFile, report: Report) -> None:
        self.archive, self.sizes = archive, {}
        self.members: dict[str, zipfile.ZipInfo] = {}
        names = [name.replace("\\", "/") for name in archive.namelist()]  # as some Windows programs write it
        runs = {PurePosixPath(name).parent for name in names if PurePosixPath(name).name == RUN_NAME}
        for name, member in zip(names, archive.infolist(), strict=True):
            path = PurePosixPath(name)
            hidden = any(is_left_out(part) for part in path.parts if part != "..")
            if member.is_dir() or hidden or not runs.isdisjoint(path.parents):
                continue
            if not _is_wanted(name):
                report.passed_over |= {} if goes_with_pictures(path.name) else {name: NO_PICTURE}
                continue
            if member.flag_bits & 1:
                raise PrepareError(f"{archive.filename} is encrypted: unpack it, and give the folder")
            if reason := self._danger(name, member):
                report.refused[name] = reason
            elif name in self.members:
                report.duplicates[name] = "twice in the zip: the first is taken"
            else:
                self.members[name], self.sizes[name] = member, member.file_size
        if sum(self.sizes.values()) > LARGEST_ZIP:
            raise PrepareError(
                f"{archive.filename} claims to hold {sum(self.sizes.values()):,} bytes of photos, beyond "
                f"{LARGEST_ZIP:,}: if you trust it, unpack it, and give the folder"
            )

    @staticmethod
    def _danger(name: str, member: zipfile.ZipInfo) -> str:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            return "an absolute name"
        if ".." in name.split("/"):
            return "a name that climbs out of its folder"
        if kind not in (0, stat.S_IFREG):
            return "a link" if kind == stat.S_IFLNK else "not a regular file"
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return "packed by another method than deflate"  # of those, zipfile does not bound what it unpacks
        if member.file_size > LARGEST_MEMBER:
            return f"{member.file_size:,} bytes, beyond {LARGEST_MEMBER:,}"
        if member.file_size > max(10**6, LARGEST_RATIO * member.compress_size):
            return f"unpacks to more than {LARGEST_RATIO} times its size"
        return ""

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.archive.read(self.members[name]))

    def read(self, name: str, limit: int) -> bytes:
        with self.archive.open(self.members[name]) as file:
            return file.read(limit)


@contextmanager
def _open_source(source: Path, out: Path, report: Report) -> Iterator[_Entries]:
    if source.is_dir():
        if out.resolve() in (source.resolve(), *source.resolve().parents):
            raise PrepareError(f"{out} is or holds the source, {source}: choose another folder to write to")
        yield _FolderEntries(source, out.resolve(), report)
    elif not source.is_file():
        raise PrepareError(f"{source}: no such folder or zip file (seen from {Path.cwd()})")
    else:
        try:
            archive = zipfile.ZipFile(source)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise PrepareError(
                f"{source} is not a whole zip file ({error}): download it again, or give an unpacked folder"
            ) from error
        with archive:
            yield _ZipEntries(archive, report)
