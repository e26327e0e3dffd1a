"""Download the photos to train on: the CAT dataset from Kaggle, or a zip from any URL."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import string
import time
import zipfile
from contextlib import suppress
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, url2pathname

from tqdm import tqdm

from catdcgan import __version__
from catdcgan.errors import DownloadError
from catdcgan.files import FULL, parse_json, refuse_special
from catdcgan.output import check_folders
from catdcgan.screen import printable, say, screen

KAGGLE_DATASET = "crawford/cat-dataset"
TIMEOUT = 30.0  # seconds without a byte after which a connection counts as broken
TRIES = 5  # connections in one call, the first included
PAUSE = 1.0  # seconds before the second connection; doubled for each later one
CHUNK = 1 << 18  # bytes read at a time


class _Notes(NamedTuple):
    """The contents of ``NAME.part.json``, about ``NAME.part``: only the very same file can be resumed."""

    url: str
    validator: str | None  # for the header If-Range; None if the server offers no way to detect a change
    total: int | None  # bytes of the whole file, if the server tells


def download_photos(url: str | None, out: Path, sha256: str | None = None, progress: bool = True) -> Path:
    """Download a zip. An interrupted download is continued, and a finished file is left as it is.

    During the download the file is called ``NAME.part``, with ``NAME.part.json`` beside it. It gets its final
    name once it has the length announced by the server, the checksum if one was given, and opens as a zip.
    After an interruption, a broken connection or on a full disk the part is kept; a wrong or truncated file
    is deleted.

    Args:
        url: https, http or file (``file:///full/path.zip``). None for the CAT dataset through ``kagglehub``,
            which has its own cache, progress bar and account: `out` and `sha256` are ignored. This path has
            not been tested, because Kaggle could not be reached where it was written.
        out: the file if it ends in .zip, else its folder; the end of the URL's path then names the file.
        sha256: the checksum that the file must have, 64 hexadecimal digits.
        progress: show a bar in bytes.

    Returns:
        The zip; for Kaggle the folder that kagglehub keeps the unpacked dataset in.

    Raises:
        DownloadError: the URL cannot be used or reached, the server refuses, the connection broke
            `TRIES` times, the disk is full, or the file is not a whole zip with the given checksum.
        InputError: a named pipe or a device is in the way of the file, or a file in the way of its folder, or
            the folder may not be written to.
    """
    if url is None:
        return _from_kaggle()
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise DownloadError(f"sha256 must have 64 hexadecimal digits, got {sha256!r}")
    url = quote(
        url, safe=string.punctuation, errors="surrogateescape"
    )  # a space or "é" is allowed, but HTTP cannot send it
    _check_url(url)
    target = out if out.suffix.lower() == ".zip" and not out.is_dir() else out / _name(url)
    part = target.with_name(f"{target.name}.part")
    refuse_special(target, part, _notes_of(part))
    check_folders(target.parent)
    try:
        if target.exists():
            _check_file(target, sha256, f"{target} was there already; move it away to download it anew")
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        options = {"unit": "B", "unit_scale": True, "disable": not progress, "file": screen()}
        with tqdm(desc=printable(target.name), **options) as bar:
            _fetch(url, part, bar)
        try:
            _check_file(part, sha256, f"it came from {url}, and this copy of it is deleted")
        except DownloadError:
            _discard(part)
            raise
        part.replace(target)
        _discard(part)
    except OSError as error:
        if error.errno not in FULL:
            raise DownloadError(f"{target} cannot be written: {error}") from error
        done, total = _size(part), _read_notes(part).total
        need = "more room" if total is None else f"{_bytes(total)}, {_bytes(total - done)} more than now"
        raise DownloadError(
            f"no room for {target} ({error.strerror}): it needs {need}. "
            f"{_bytes(done)} are kept in {part.name}: make room and run this again, or delete it"
        ) from error
    return target


def _fetch(url: str, part: Path, bar: Any) -> None:
    """Complete the part, in at most `TRIES` connections."""
    opener = build_opener(_Redirects)
    trouble: Exception | None = None
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        notes, start = _read_notes(part), _size(part)
        if notes.url != url or notes.validator is None or start > (notes.total or start):
            start = 0
        if start and start == notes.total:  # interrupted between the last byte and the checks
            return
        headers = {"User-Agent": f"catdcgan/{__version__}"}
        if start:  # If-Range: send the rest if the file is the same, all of it if it has changed
            headers |= {"Range": f"bytes={start}-", "If-Range": str(notes.validator)}
        try:
            response = opener.open(Request(url, headers=headers), timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            trouble = error
            if error.code != 416:  # 416: there is no such range, so the file has changed
                raise DownloadError(
                    f"{url}: the server answers {error.code} ({error.reason}); check the address, "
                    "or try later if the server is at fault (500 and above)"
                ) from error
            _discard(part)
        except (InvalidURL, ValueError) as error:
            raise DownloadError(f"{url} is not a valid address: {error}") from error
        except (OSError, HTTPException) as error:
            if isinstance(error, URLError) and not attempt:  # no name, no route, refused, bad certificate
                raise DownloadError(f"{url} cannot be reached ({error.reason}); check the network") from error
            trouble = error
        else:
            with response:
                trouble = _receive(response, url, part, start, bar)
            if trouble is None:
                return
    notes, done = _read_notes(part), _size(part)
    of = "" if notes.total is None else f" of {_bytes(notes.total)}"
    again = "go on" if notes.validator else "start anew (this server offers no means to go on)"
    kept = (
        f"{_bytes(done)}{of} are kept in {part}; run this again to {again}"
        if done
        else "Nothing was received"
    )
    raise DownloadError(f"{url}: the connection broke {TRIES} times, at last with: {trouble}. {kept}")


def _receive(response: Any, url: str, part: Path, start: int, bar: Any) -> Exception | None:
    """Write what one connection delivers, from byte `start` on. Returns what broke it, or None at the end."""
    try:
        total: int | None = int(response.headers["Content-Length"])
    except (TypeError, ValueError):
        total = None  # sent in chunks, or until the server closes the connection
    if total is not None and total < 0:
        total = None  # nonsense
    validator = _validator(response.headers)
    if response.status == 206:
        content_range = re.match(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        total = int(content_range[2]) if content_range else None
        notes = _read_notes(part)
        same = validator in (None, notes.validator) and notes.total in (None, total)
        if not (content_range and int(content_range[1]) == start and same):
            _discard(part)
            return HTTPException("the server sent a part of another file")
    else:
        start = 0
        part.write_bytes(b"")  # before the notes: an old part must never go with new notes
        _notes_of(part).write_text(json.dumps(_Notes(url, validator, total)._asdict()))
    bar.total, bar.n, bar.initial = total, start, start
    with part.open("r+b") as file:  # not "ab": a second run of the same download writes the same bytes
        file.seek(start)
        while total is None or start < total:
            try:
                block = response.read1(CHUNK if total is None else min(CHUNK, total - start))
            except (OSError, HTTPException) as error:
                return error
            if not block:
                break
            file.write(block)
            start += len(block)
            bar.update(len(block))
    return None if total in (None, start) else HTTPException("the server hung up before the end")


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to http and https only, and from https to https only."""

    http_error_308 = HTTPRedirectHandler.http_error_302  # Python 3.10 does not know 308, the permanent 307

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        # urllib itself refuses redirects to files, but would follow one to ftp.
        if urlsplit(newurl).scheme not in ("https", "http" if req.type == "http" else "https"):
            raise HTTPError(req.full_url, code, f"a redirect to {newurl} is not allowed", headers, fp)
        return super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)


def _check_url(url: str) -> None:
    """Raise DownloadError unless the URL is a valid https, http or file URL."""
    try:
        scheme, host, path, *_ = urlsplit(url)
    except ValueError as error:
        raise DownloadError(f"{url} is no URL: {error}") from error
    if scheme not in ("https", "http", "file") or (scheme != "file" and not host):
        raise DownloadError(f"{url}: expected a URL such as https://host/cats.zip or file:///folder/cats.zip")
    if scheme == "file" and (host not in ("", "localhost") or not Path(url2pathname(path)).is_file()):
        raise DownloadError(f"{url}: no such file; a file's URL has three slashes and the full path")


def _name(url: str) -> str:
    """Make a file name from the end of a URL's path: plain ASCII, no folder, not hidden, ending in .zip."""
    name = re.split(r"[/\\]", unquote(urlsplit(url).path))[-1]
    stem = re.sub(r"[^\w.-]+", "_", re.sub(r"(?i)\.zip$", "", name), flags=re.ASCII)
    return (stem.strip("._-")[:100] or "download") + ".zip"


def _validator(headers: Any) -> str | None:
    """The value for If-Range: the ETag unless it is weak, or the date if there is none (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag")
    return headers.get("Last-Modified") if tag is None else None if tag.startswith("W/") else tag


def _check_file(file: Path, sha256: str | None, advice: str) -> None:
    """Raise DownloadError, ending in the advice, unless the file is a whole zip with that checksum."""
    if sha256 is not None:
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while block := opened.read(CHUNK):
                digest.update(block)
        if digest.hexdigest() != sha256.lower():
            raise DownloadError(
                f"{file.name} has the sha256 {digest.hexdigest()}, expected {sha256.lower()}; {advice}"
            )
    try:
        with zipfile.ZipFile(file) as archive:
            if any(member.header_offset < 0 for member in archive.infolist()):  # Python 3.11 accepts it
                raise zipfile.BadZipFile("its beginning is missing")
    except Exception as error:  # zipfile raises half a dozen types of error for a damaged file
        with file.open("rb") as opened:  # often it is a login or error page, as its first bytes show
            start = opened.read(40)
        raise DownloadError(
            f"{file.name} is not a complete zip ({error}; {_bytes(_size(file))}, from {start!r} on); {advice}"
        ) from error


def _notes_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_notes(part: Path) -> _Notes:
    """The part's notes; empty ones if there are none or they cannot be read."""
    with suppress(OSError, ValueError, TypeError):
        notes = _Notes(**parse_json(_notes_of(part).read_text("utf-8")))
        if isinstance(notes.validator, str | None) and isinstance(notes.total, int | None):
            return notes
    return _Notes("", None, None)


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes_of(part).unlink(missing_ok=True)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _bytes(count: int) -> str:
    return str(tqdm.format_sizeof(count, "B"))


def _from_kaggle() -> Path:
    page = f"https://www.kaggle.com/datasets/{KAGGLE_DATASET}"
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError as error:
        raise DownloadError(
            f"the CAT dataset comes through kagglehub ({error}): pip install -e '.[kaggle]', or download "
            f"the zip with a browser from {page}"
        ) from error
    try:
        path = Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except Exception as error:  # those of kagglehub, requests and the disk have no common type
        reason = " ".join(str(error).split())
        raise DownloadError(f"Kaggle: {reason}; or download the zip with a browser from {page}") from error
    if not path.exists():
        raise DownloadError(f"kagglehub says that {KAGGLE_DATASET} is in {path}, where nothing is")
    say(f"kagglehub keeps {KAGGLE_DATASET} in {path}")
    return path
