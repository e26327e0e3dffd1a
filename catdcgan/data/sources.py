"""Photos and annotations to prepare, in a folder or a zip."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from catdcgan.data.listing import ANNOTATION_SUFFIX, find_files, goes_with_pictures, is_ignored
from catdcgan.data.photos import is_picture
from catdcgan.errors import PrepareError
from catdcgan.run.folder import RUN_NAME

NO_PICTURE = "its name does not end as a picture's"
LARGEST_MEMBER = 200_000_000  # bytes of one photo in a zip
DEEPEST = 100  # folders above a photo in a zip
LARGEST_ZIP = 100_000_000_000  # bytes of all photos in a zip; with the CAT dataset in it twice, 4 GB
LARGEST_RATIO = 200  # unpacked to packed size, of members above a megabyte; a photo has 1, a zip bomb 1000


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
    passed_over: dict[str, str] = field(default_factory=dict)  # files without a picture's suffix
    left_over: dict[str, str] = field(default_factory=dict)  # pictures of earlier calls alone

    @property
    def photos(self) -> int:
        """Number of photos in the source."""
        no_photos = ("without_photo", "passed_over", "left_over")
        return sum(len(names) for section, names in asdict(self).items() if section not in no_photos)

    def summary(self) -> str:
        """One line: ``40 photos: 27 written, 10 too small, 3 outliers``."""
        counts = {section.replace("_", " "): len(names) for section, names in asdict(self).items()}
        counts["annotations without photo"] = counts.pop("without photo")
        counts["other files passed over"] = counts.pop("passed over")
        counts["more pictures left from an earlier call"] = counts.pop("left over")
        parts = [f"{counts.pop('written')} written"]
        parts += [f"{count} {section}" for section, count in counts.items() if count]
        return f"{self.photos} photo{'s' * (self.photos != 1)}: {', '.join(parts)}"


def is_wanted(name: str) -> bool:
    """Whether a file is a photo or the annotation of one, by its name."""
    return is_picture(name.removesuffix(ANNOTATION_SUFFIX))


# Where photos come from.


class Entries(ABC):
    """The photos and annotations of a source."""

    sizes: dict[str, int]  # in bytes, by name

    @abstractmethod
    def open(self, name: str) -> Any:
        """Return what `PIL.Image.open` accepts for a photo."""

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """Read the first `limit` bytes of a file."""


class _FolderEntries(Entries):
    def __init__(self, folder: Path, out: Path, report: Report) -> None:
        found = find_files(folder, is_wanted, [out])  # pictures of an earlier run are not photos
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


class _ZipEntries(Entries):
    def __init__(self, archive: zipfile.ZipFile, report: Report) -> None:
        self.archive, self.sizes = archive, {}
        self.members: dict[str, zipfile.ZipInfo] = {}
        names = [name.replace("\\", "/") for name in archive.namelist()]  # of some Windows programs
        runs = {PurePosixPath(name).parent for name in names if PurePosixPath(name).name == RUN_NAME}
        for name, member in zip(names, archive.infolist(), strict=True):
            path = PurePosixPath(name)
            hidden = any(is_ignored(part) for part in path.parts if part != "..")
            deep = len(path.parts) > DEEPEST + 1  # refused below; its many parents are not searched for a run
            if member.is_dir() or hidden or not (deep or runs.isdisjoint(path.parents)):
                continue
            if not is_wanted(name):
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
        """Why a member must not be read; an empty text if it is safe."""
        kind = stat.S_IFMT(member.external_attr >> 16)
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            return "an absolute name"
        if len(PurePosixPath(name).parts) > DEEPEST + 1:
            return f"more than {DEEPEST} folders deep"
        if ".." in name.split("/"):
            return "a path outside its folder"
        if kind not in (0, stat.S_IFREG):
            return "a link" if kind == stat.S_IFLNK else "not a regular file"
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return "not compressed with deflate"  # zipfile does not limit what others unpack
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
def open_source(source: Path, out: Path, report: Report) -> Iterator[Entries]:
    """Open a folder or zip for the block; what cannot be used goes into the report.

    Raises:
        PrepareError: there is no such source, it cannot be read, or `out` is or contains it.
    """
    if source.is_dir():
        if out.resolve() in (source.resolve(), *source.resolve().parents):
            raise PrepareError(
                f"{out} is or contains the source, {source}: choose another folder to write to"
            )
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
