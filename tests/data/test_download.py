"""Whatever the network does, a download ends as the whole right file or as one error that says what to do."""

from __future__ import annotations

import hashlib
import io
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from catdcgan.data import download
from catdcgan.data.download import download_photos
from catdcgan.errors import DownloadError, InputError


def make_zip(seed: int, size: int = 900_000) -> bytes:
    """A zip of one file that does not compress, so that its size is about `size` bytes."""
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("CAT_00/cat.jpg", random.Random(seed).randbytes(size))
        return buffer.getvalue()


ZIP, OTHER_ZIP = make_zip(1), make_zip(2, 700_000)
HALF = len(ZIP) // 2
SUM = hashlib.sha256(ZIP).hexdigest()


@dataclass
class Answer:
    """How the server answers one request; the defaults are those of a good server."""

    body: bytes = ZIP
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True  # honours Range and If-Range
    checks: bool = True  # False: sends the range that was asked for, whatever If-Range says
    length: bool = True  # says how long the file is
    chunked: bool = False
    cut: int | None = None  # bytes of the body to send before the fault below
    fault: str = "hang up"  # or "reset", "stall"
    shift: int = 0  # sends the range from that many bytes further on

    def send(self, handler: BaseHTTPRequestHandler, stalled: threading.Event) -> None:
        status, body, headers = self.status, self.body, dict(self.headers)
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        current = handler.headers.get("If-Range") in self.headers.values() or not self.checks
        if status == 200 and self.ranges and wanted and current:
            start = int(wanted[1]) + self.shift
            status, body = 206, body[start:]
            headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        if self.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif self.length:
            headers["Content-Length"] = str(len(body))
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        sent = body[: self.cut]
        for start in range(0, len(sent), 50_000):
            block = sent[start : start + 50_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if self.chunked else block)
        if self.cut is None and self.chunked:
            handler.wfile.write(b"0\r\n\r\n")
        elif self.cut is not None and self.fault == "stall":
            stalled.wait(5)
        elif self.cut is not None and self.fault == "reset":
            time.sleep(0.1)  # the client reads what is there, or the reset would take it away
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.rfile.close()  # the socket closes with the last file made of it
            handler.connection.close()
        handler.close_connection = True


class Server(ThreadingHTTPServer):
    """Gives the n-th request the n-th answer, and 599 to any request too many."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder  # where the tests download to
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str | None, str | None]] = []  # path, Range, If-Range
        self.stalled = threading.Event()
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.root}/data/cats.zip"

    def ranges(self) -> list[str | None]:
        return [wanted for _, wanted, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        number = len(self.server.requests)
        self.server.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        answers = self.server.answers
        answer = answers[number] if number < len(answers) else Answer(b"", 599)
        answer.send(self, self.server.stalled)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.stalled.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _fast_and_without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "TIMEOUT", 10.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def interrupted(server: Server, *answers: Answer) -> Path:
    """Let a first call end with half of the zip and return that part; the answers are for the next call."""
    server.answers = [Answer(cut=HALF), Answer(b"", 503), *answers]
    fails("503", server.url, server.folder)
    assert names(server.folder) == {"cats.zip.part", "cats.zip.part.json"}  # not its name yet
    part = server.folder / "cats.zip.part"
    assert part.read_bytes() == ZIP[:HALF]
    return part


def fails(message: str, url: str | None, out: Path, sha256: str | None = None) -> str:
    """The message of the DownloadError that this download must end in; it must match the pattern."""
    with pytest.raises(DownloadError, match=message) as caught:
        download_photos(url, out, sha256, progress=False)
    return str(caught.value)


def arrives(url: str, out: Path, sha256: str | None = SUM) -> None:
    """This download must end in the whole zip and nothing else in its folder."""
    file = download_photos(url, out, sha256, progress=False)
    assert file.read_bytes() == ZIP
    assert names(file.parent) == {file.name}


# --- the file, whole and under its name --------------------------------------------------------------------
def test_one_request_brings_the_file_and_leaves_nothing_else_beside_it(server: Server) -> None:
    server.answers = [Answer()]
    out = server.folder / "new" / "folder" / "photos.zip"
    arrives(server.url, out, SUM.upper())
    assert names(out.parent) == {"photos.zip"}
    assert server.requests == [("/data/cats.zip", None, None)]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(chunked=True), id="chunked"),
        pytest.param(Answer(length=False), id="until the server hangs up"),
        pytest.param(Answer(length=False, headers={"Content-Length": "many"}), id="length that is no number"),
    ],
)
def test_a_file_of_unknown_length_arrives_whole(server: Server, answer: Answer) -> None:
    server.answers = [answer]
    arrives(server.url, server.folder)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/cats.zip", "cats.zip"),
        ("/cats.ZIP?token=a/b.zip#part", "cats.zip"),
        ("/", "download.zip"),
        ("", "download.zip"),
        ("/datasets/12/download", "download.zip"),
        ("/a/..%2F..%2Fetc%2Fpasswd", "passwd.zip"),
        ("/a/..%5C..%5Cboot.zip", "boot.zip"),
        ("/a%5Cboot.zip", "boot.zip"),
        ("/a/%2E%2E", "download.zip"),
        ("/.bashrc", "bashrc.zip"),
        ("/-rf.zip", "rf.zip"),
        ("/C%3Acats%00%0A%20x.zip", "C_cats_x.zip"),
        ("/ch%C3%A2ts.zip", "ch_ts.zip"),
        ("/" + "long" * 90 + ".zip", "long" * 25 + ".zip"),
    ],
)
def test_a_url_cannot_choose_a_name_outside_the_folder_or_one_that_a_disk_refuses(
    server: Server, path: str, name: str
) -> None:
    server.answers = [Answer()]
    folder = server.folder / "all.zip"  # a folder whatever it is called, once it is there
    folder.mkdir()
    assert download_photos(server.root + path, folder, progress=False) == folder / name
    assert (names(server.folder), names(folder)) == ({"all.zip"}, {name})


def test_spaces_and_accents_in_a_url_are_sent_as_http_wants_them(server: Server) -> None:
    server.answers = [Answer()]
    download_photos(f"{server.root}/my é%20cats.zip", server.folder, progress=False)
    assert server.requests[0][0] == "/my%20%C3%A9%20cats.zip"


def test_a_file_that_is_there_is_not_downloaded_again_nor_deleted_if_it_is_another(server: Server) -> None:
    file = server.folder / "cats.zip"
    file.write_bytes(OTHER_ZIP)
    assert download_photos(server.url, server.folder, progress=False) == file
    fails(f"{SUM}.*there already; move it away", server.url, server.folder, SUM)
    assert file.read_bytes() == OTHER_ZIP
    file.write_bytes(b"my diary")
    fails("not a complete zip.*my diary.*there already; move it away", server.url, server.folder)
    assert file.read_bytes() == b"my diary"
    assert server.requests == []


def test_the_bar_counts_all_bytes_and_no_bar_is_shown_without_progress(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [Answer(cut=HALF), Answer(), Answer()]
    download_photos(server.url, server.folder / "a.zip")
    assert re.search(r"a\.zip: 100%.* 900k/900k \[", capsys.readouterr().err)
    download_photos(server.url, server.folder / "b.zip", progress=False)
    assert capsys.readouterr() == ("", "")


# --- going on after an interruption ------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["hang up", "reset", "stall"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_dropped_in_the_middle_is_taken_up_where_it_stopped(
    server: Server, monkeypatch: pytest.MonkeyPatch, fault: str, chunked: bool
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.4)
    server.answers = [Answer(cut=HALF, fault=fault, chunked=chunked), Answer()]
    start = time.monotonic()
    arrives(server.url, server.folder)
    assert time.monotonic() - start < 4  # a stall lasts 5 s
    assert server.requests[1:] == [("/data/cats.zip", f"bytes={HALF}-", '"one"')]


def test_a_connection_dropped_again_and_again_is_tried_ever_later_and_the_next_run_goes_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download, "PAUSE", 1.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    server.answers = [Answer(cut=100_000)] * download.TRIES
    kept = r"500kB of 900kB are kept in .*cats\.zip\.part; run this again to go on"
    fails(f"broke 5 times.* {kept}", server.url, server.folder)
    assert waits == [1, 2, 4, 8]  # so that a busy server is not hammered
    server.answers.append(Answer())
    arrives(server.url, server.folder)
    assert server.ranges() == [None, *(f"bytes={n}00000-" for n in (1, 2, 3, 4, 5))]


@pytest.mark.parametrize("checks", [True, False], ids=["If-Range heeded", "If-Range ignored"])
@pytest.mark.parametrize("tell", ["ETag", "Last-Modified"])
def test_a_file_that_changed_in_between_is_not_joined_to_the_half_of_the_old_one(
    server: Server, checks: bool, tell: str
) -> None:
    old, new = ({tell: f'"{age}"'} for age in ("old", "new"))
    changed = Answer(make_zip(3), headers=new, checks=checks)  # as long as the old one
    server.answers = [Answer(headers=old, cut=HALF), changed, changed]
    assert download_photos(server.url, server.folder, progress=False).read_bytes() == changed.body
    assert server.ranges() == [None, f"bytes={HALF}-"] + ([] if checks else [None])
    assert server.requests[1][2] == '"old"'


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([Answer(ranges=False)], id="all, from a server without ranges"),
        pytest.param([Answer(shift=1000), Answer()], id="from another byte on"),
        pytest.param([Answer(OTHER_ZIP), Answer()], id="of a file of another length"),
        pytest.param([Answer(ZIP[HALF:], 206), Answer()], id="without Content-Range"),
        pytest.param([Answer(b"", 416), Answer()], id="416"),
    ],
)
def test_what_does_not_fit_the_half_is_not_joined_to_it(server: Server, answers: list[Answer]) -> None:
    interrupted(server, *answers)
    arrives(server.url, server.folder, None)
    assert server.ranges()[2:] == [f"bytes={HALF}-", None][: len(answers)]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"', "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}])
def test_without_a_sure_sign_of_the_same_file_it_starts_anew(server: Server, headers: dict[str, str]) -> None:
    server.answers = [Answer(headers=headers, cut=HALF)] * download.TRIES + [Answer(headers=headers)]
    fails("run this again to start anew", server.url, server.folder)
    arrives(server.url, server.folder, None)
    assert server.ranges() == [None] * 6


def test_half_of_another_url_is_not_continued(server: Server) -> None:
    interrupted(server, Answer())
    download_photos(f"{server.root}/mirror.zip", server.folder / "cats.zip", progress=False)
    assert server.requests[2:] == [("/mirror.zip", None, None)]


@pytest.mark.parametrize(
    "notes", [None, "", "{", "[1]", "{}", '{"url": 1}', '{"url": "URL", "validator": 5, "total": "x"}']
)
def test_damaged_notes_are_not_trusted_and_do_not_crash(server: Server, notes: str | None) -> None:
    interrupted(server, Answer())
    file = server.folder / "cats.zip.part.json"
    file.unlink() if notes is None else file.write_text(notes.replace("URL", server.url))
    arrives(server.url, server.folder, None)
    assert server.ranges()[2:] == [None]


def test_a_download_interrupted_after_its_last_byte_needs_no_request(server: Server) -> None:
    interrupted(server).write_bytes(ZIP)
    arrives(server.url, server.folder)
    assert len(server.requests) == 2


def test_a_part_longer_than_the_file_is_not_taken_for_a_whole_one(server: Server) -> None:
    interrupted(server, Answer()).write_bytes(ZIP + b"more")
    arrives(server.url, server.folder, None)
    assert server.ranges()[2:] == [None]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_ctrl_c_keeps_the_part_and_the_next_run_goes_on(server: Server) -> None:
    server.answers = [Answer(cut=HALF, fault="stall"), Answer()]
    code = "import sys; from catdcgan.data.download import *; assert 'tensorflow' not in sys.modules; "
    code += f"download_photos({server.url!r}, Path({str(server.folder)!r}))"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        part = server.folder / "cats.zip.part"
        while process.poll() is None and not (part.exists() and part.stat().st_size == HALF):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
    assert names(server.folder) == {"cats.zip.part", "cats.zip.part.json"}
    arrives(server.url, server.folder)
    assert server.ranges() == [None, f"bytes={HALF}-"]


# --- errors that say what to do ----------------------------------------------------------------------------
def test_a_wrong_checksum_names_both_sums_and_leaves_no_file(server: Server) -> None:
    server.answers = [Answer(OTHER_ZIP)]
    message = fails("is deleted", server.url, server.folder, SUM)
    assert all(part in message for part in (SUM, hashlib.sha256(OTHER_ZIP).hexdigest(), server.url))
    assert names(server.folder) == set()


def test_a_checksum_that_is_none_is_refused_before_anything_is_asked(server: Server) -> None:
    for sha256 in ("", "abc", "g" * 64, SUM + "0"):
        fails("64 hexadecimal digits", server.url, server.folder, sha256)
    assert server.requests == []


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500, 503])
def test_a_refusal_is_one_error_with_its_status_after_one_request(server: Server, status: int) -> None:
    server.answers = [Answer(b"<html>", status)]
    assert server.url in fails(f"the server answers {status} ", server.url, server.folder)
    assert len(server.requests) == 1
    assert names(server.folder) == set()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        pytest.param(ZIP[:-1], "PK", id="a byte short"),
        pytest.param(ZIP[:HALF], "PK", id="half"),
        pytest.param(ZIP[HALF:], "its beginning is missing", id="without its beginning"),
        pytest.param(b"<!DOCTYPE html><title>Log in", "DOCTYPE html", id="page"),
        pytest.param(b"", "b''", id="empty"),
    ],
)
def test_what_is_no_whole_zip_is_shown_and_leaves_no_file(server: Server, body: bytes, shown: str) -> None:
    server.answers = [Answer(body)]
    message = f"not a complete zip.*{server.url}, and this copy of it is deleted"
    assert shown in fails(message, server.url, server.folder)
    assert names(server.folder) == set()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no RLIMIT_FSIZE")
def test_a_full_disk_says_how_much_room_is_needed_and_goes_on_when_there_is_some(server: Server) -> None:
    code = f"""
import resource, signal
from catdcgan.data.download import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    download_photos({server.url!r}, Path({str(server.folder)!r}), progress=False)
except DownloadError as error:
    print(error)
"""
    server.answers = [Answer(), Answer()]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert re.fullmatch(
        r"no room for .*cats\.zip \(File too large\): it needs 900kB, 600kB more than now\. "
        r"300kB are kept in cats\.zip\.part: make room and run this again, or delete it\n",
        run.stdout,
    )
    assert names(server.folder) == {"cats.zip.part", "cats.zip.part.json"}
    arrives(server.url, server.folder)
    assert server.ranges() == [None, "bytes=300000-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("length", [True, False])
def test_no_space_left_is_an_error_with_the_remedy(
    server: Server, length: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "refuse_special", lambda *_: None)  # it would refuse the device below
    server.answers = [Answer(length=length)]
    (server.folder / "cats.zip.part").symlink_to("/dev/full")
    need = "900kB, 900kB more than now" if length else "more room"
    fails(rf"\(No space left on device\): it needs {need}\. .*make room", server.url, server.folder)


def test_an_error_of_the_disk_is_not_taken_for_one_of_the_network(server: Server) -> None:
    (server.folder / "cats.zip.part").mkdir()
    server.answers = [Answer(ZIP)]
    fails("cannot be written", server.url, server.folder)
    assert len(server.requests) == 1, "it is not tried again"


def test_a_file_in_the_way_is_found_before_anything_is_asked(server: Server) -> None:
    (server.folder / "file").write_text("")
    with pytest.raises(InputError, match="file is a file: name a folder"):
        download_photos(server.url, server.folder / "file" / "cats.zip", progress=False)
    assert server.requests == []


NO_URLS = (
    *("ftp://127.0.0.1/cats.zip", "data:application/zip;base64,UEsFBgAA", "cats.zip", "/data/cats.zip"),
    *("C:\\cats.zip", "http:///cats.zip", "http:", ""),
)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        *((url, "expected a URL such as") for url in NO_URLS),
        ("http://[::1/cats.zip", "no URL"),
        ("http://127.0.0.1:port/cats.zip", "not a valid address"),
        ("http://" + "a" * 64 + ".invalid/cats.zip", "not a valid address"),
        ("file://data/cats.zip", "no such file; a file's URL has three slashes"),
        (f"file://data{Path(__file__).as_posix()}", "three slashes"),
        ("file:///no/such/cats.zip", "no such file"),
        ("file:///", "no such file"),
    ],
)
def test_what_is_no_url_of_ours_is_refused_by_name_without_trying_twice_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("tried again"))
    assert fails(message, url, tmp_path / "new").startswith(url)
    assert not any((tmp_path / "new").glob("*"))


def test_where_nobody_listens_it_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    fails("cannot be reached.*refused", f"http://127.0.0.1:{port}/cats.zip", tmp_path)


# --- redirects and files -----------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_keeps_the_range(server: Server, status: int) -> None:
    interrupted(server, Answer(b"", status, {"Location": "/elsewhere/x.zip"}), Answer())
    arrives(server.url, server.folder / "cats.zip", None)
    assert server.requests[3:] == [("/elsewhere/x.zip", f"bytes={HALF}-", '"one"')]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_a_server_cannot_redirect_to_a_file_of_this_machine_or_to_another_protocol(
    server: Server, status: int, scheme: str
) -> None:
    (server.folder / "secret.zip").write_bytes(ZIP)
    target = (server.folder / "secret.zip").as_uri().replace("file:", f"{scheme}:")
    server.answers = [Answer(b"", status, {"Location": target})]
    fails(f"{status} .*not allowed", server.url, server.folder / "cats.zip")
    assert names(server.folder) == {"secret.zip"}


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [("https", "https", True), ("https", "http", False), ("http", "https", True), ("http", "http", True)],
)
def test_a_redirect_cannot_take_the_encryption_away(old: str, new: str, allowed: bool) -> None:
    request, target = Request(f"{old}://localhost/a.zip"), f"{new}://localhost/b.zip"
    refused = nullcontext() if allowed else pytest.raises(HTTPError, match="not allowed")
    with refused as caught:
        assert download._Redirects().redirect_request(request, io.BytesIO(), 302, "Found", {}, target)
    if caught:
        caught.value.close()


def test_redirects_in_a_circle_end(server: Server) -> None:
    server.answers = [Answer(b"", 302, {"Location": "/data/cats.zip"})] * 20
    fails("302", server.url, server.folder)
    assert len(server.requests) < 12


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_url_is_copied_and_its_source_stays(tmp_path: Path, host: str) -> None:
    source = tmp_path / "my cäts.zip"
    source.write_bytes(ZIP)
    arrives(source.as_uri().replace("file://", f"file://{host}"), tmp_path / "new")
    assert names(tmp_path / "new") == {"my_c_ts.zip"}
    assert source.read_bytes() == ZIP


# --- Kaggle, by a stand-in: the real one was never reached -------------------------------------------------


@pytest.mark.parametrize(
    ("kagglehub", "message"),
    [
        (None, r"pip install -e '\.\[kaggle\]'"),
        (Mock(dataset_download=lambda _: "no/where"), "no.where"),
        (
            Mock(dataset_download=Mock(side_effect=RuntimeError("403 Client Error.\n\nNo permission"))),
            r"403 Client Error\. No permission.*https://www\.kaggle\.com",
        ),
    ],
    ids=["not installed", "a folder that is only promised", "refused"],
)
def test_a_failure_of_kagglehub_is_one_line_that_says_what_to_do(
    kagglehub: Mock | None, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    assert "\n" not in fails(message, None, tmp_path)


def test_with_kagglehub_the_folder_that_it_gives_is_returned_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kagglehub = Mock(dataset_download=Mock(return_value=str(tmp_path)))
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    assert download_photos(None, tmp_path / "unused") == tmp_path
    kagglehub.dataset_download.assert_called_once_with("crawford/cat-dataset")
    assert str(tmp_path) in capsys.readouterr().out
    assert names(tmp_path) == set()
