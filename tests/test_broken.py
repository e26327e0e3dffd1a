"""What somebody does who wants to break the program: odd files, names, checkpoints and streams."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catdcgan import draw_cats, random_latents, sample
from catdcgan.cli import main
from catdcgan.data.download import download_photos
from catdcgan.data.prepare import prepare_photos
from catdcgan.errors import CheckpointError, RunError
from catdcgan.run.folder import folder_of, lock
from catdcgan.run.history import read_history
from catdcgan.run.record import read_record, record_start
from catdcgan.run.summary import summarize
from catdcgan.settings import Settings, to_record
from catdcgan.tf1 import tf

DEEP = "[" * 100_000  # JSON that no parser follows
EVIL = "a\x1b[31m\nb\x9b\u2028c\u202e"
RESUME = ["train", "--resume", "--steps=3", "--quiet", "--out"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps that the command line trained."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    tiny = ["--drawn-count=16", "--size=32", "--base-filters=4", "--batch-size=8", "--z-dim=8"]
    every = ["--steps=2", "--sample-every-steps=1", "--quiet"]
    assert main(["train", "--data=drawn", *tiny, *every, f"--out={folder}"]) == 0
    return folder


@pytest.fixture
def out(base: Path, tmp_path: Path) -> Path:
    """A copy of that run, to break."""
    return shutil.copytree(base, tmp_path / "run")


def test_xla_computes_a_shape_the_first_time_as_it_does_later() -> None:
    """Where it does not, a run that is stopped before a smaller last batch goes on to other bits."""
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, (None, 64))
        with tf.xla.experimental.jit_scope():
            y = tf.reduce_sum(tf.tanh(x) * tf.exp(x), 1)
        values = np.random.default_rng(0).normal(size=(100, 64))
        for size in (64, 40):  # other bits at 40 if XLA compiles lazily
            first, later = (sess.run(y, {x: values[:size]}).tobytes() for _ in range(2))
            assert first == later


@pytest.mark.parametrize(("name", "was"), [("device", "GPU"), ("cpu", "Z80"), ("cores", 4096)])
def test_other_hardware_is_named_when_a_run_goes_on(name: str, was: Any, tmp_path: Path) -> None:
    file, options = tmp_path / "run.json", to_record(Settings())
    record_start(file, None, options, {"images": 3})
    record = json.loads(file.read_text())
    now, record["versions"][name] = record["versions"][name], was
    file.write_text(json.dumps(record))
    with pytest.warns(UserWarning, match=f"was trained with {name} {was}, now "):
        record_start(file, 2, options, {"images": 3})
    assert json.loads(file.read_text())["starts"][1]["changed"] == {name: [was, now]}


def float_zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("logits/kernel", float_zeros(5, 5, 3, 0), "width 0"),
        ("logits/kernel", float_zeros(5, 5, 0, 4), "0 channels"),
        ("logits/kernel", float_zeros(5, 5, 2, 4), "2 channels"),
        ("logits/kernel", np.full((5, 5, 3, 4), b"a", object), "as string, expected float32"),
        ("dense/kernel", float_zeros(8, 64), "no square of 2 x 2"),
        ("dense/kernel", float_zeros(0, 256), "latents of 0 numbers"),
        ("dense/kernel", float_zeros(50_000_000, 0), "0 features"),
        ("dense/kernel", np.zeros((8, 256), complex), "as complex128, expected float32"),
        ("dense/kernel", float_zeros(8, 256) + np.nan, "not finite"),
        ("dense/bias", float_zeros(256) + np.inf, "not finite"),
        (
            "batch_trans_conv1/moving_variance",
            float_zeros(32) - 1,
            "images have values that are not finite",
        ),
    ],
)
def test_a_checkpoint_of_nonsense_is_refused(
    name: str, value: np.ndarray, said: str, base: Path, tmp_path: Path
) -> None:
    reader = tf.train.load_checkpoint(str(base / "models" / "model.ckpt"))
    values = {each: reader.get_tensor(each) for each in reader.get_variable_to_shape_map()}
    assert f"generator/{name}" in values
    values[f"generator/{name}"] = value
    with tf.Graph().as_default(), tf.Session() as sess:
        tensors = [tf.constant(each, tf.string if each.dtype == object else None) for each in values.values()]
        half = str(tmp_path / "half")
        saved = tf.raw_ops.SaveV2(
            prefix=half, tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=tensors
        )
        sess.run(saved)
        path = str(tmp_path / "model.ckpt")
        sess.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[half], destination_prefix=path))
    with pytest.raises(CheckpointError, match=said):
        sample(path, random_latents(1, 8, 0))


def test_a_generator_beyond_memory_is_refused_before_its_graph_is_built(
    base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("catdcgan.run.checkpoint.available_memory", lambda: 10_000)
    with pytest.raises(CheckpointError, match="more than all memory"):
        sample(base, random_latents(1, 8, 0))


def test_a_name_in_a_zip_that_is_folders_without_end_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        Image.fromarray(draw_cats(1, 32, 0)[0]).save(tmp_path / "cat.png")
        for depth in (0, 90, 101, 2000):
            archive.write(tmp_path / "cat.png", "a/" * depth + "cat.png")
    report = prepare_photos(tmp_path / "photos.zip", tmp_path / "out", 32, progress=False)
    assert sorted(name.count("/") for name in report.written) == [0, 90]
    assert set(report.refused.values()) == {"more than 100 folders deep"}
    assert len(report.refused) == 2


@pytest.mark.filterwarnings("default")  # the command line prints them
@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("images/step_1 copy.png", b"", ""),
        ("images/step_0000001.png", "another size", "not whole sample grids, such as step_0000001.png"),
        ("images/step_0000001.png", b"\x89PNG\r\n\x1a\n", "1 files are not whole sample grids"),
        ("images/step_0000002.png", b"", "1 files are not whole sample grids"),
        ("images/step_0000009.png", b"", ""),  # of a start that was killed before it saved
        ("history.jsonl", b"null\n", "left out 1 lines that are not records"),
        ("history.jsonl", f"[]\n{DEEP}\n\xff\n".encode("latin-1"), "left out 3 lines that are not records"),
        ("history.jsonl", b'{"step": "one"}\n', "left out 1 lines that are not records"),
    ],
)
def test_a_foreign_file_in_a_runs_folder_counts_as_absent_and_ends_no_run(
    file: str, content: bytes | str, said: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if isinstance(content, str):
        Image.new("RGB", (33, 44)).save(out / file)
    else:
        before = (out / file).read_bytes() if file.endswith(".jsonl") else b""
        (out / file).write_bytes(content + before)
    assert main([*RESUME, str(out)]) == 0
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == bool(said)


def test_a_lock_holder_that_is_no_text_is_another_program(tmp_path: Path) -> None:
    with lock(tmp_path):
        (tmp_path / ".lock-holder").write_bytes(b"\xff\xfe")
        with pytest.raises(RunError, match="in use by another program"), lock(tmp_path):
            pass


def test_a_summary_that_cannot_be_made_is_one_warning(out: Path) -> None:
    folder = folder_of(out)
    folder.history.unlink()
    for picture in folder.images.glob("*"):
        picture.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"the run is saved, but .*history\.jsonl") as caught:
        summarize(folder, 32)
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("image_size", None), ("image_size", 33), ("z_dim", 0), ("base_filters", True), ("seed", -1)),
        *(("augment", 5), ("augment", ["?"]), ("learning_rate_D", [1]), ("epoch_count", {}), ("flip", "yes")),
        *(("image_mode", "X"), ("data_source", 5), ("mixed_precision", "yes"), ("flip", None)),
    ],
)
def test_a_setting_in_run_json_that_cannot_be_is_refused_by_name(
    name: str, value: Any, tmp_path: Path
) -> None:
    file = tmp_path / "run.json"
    record_start(file, None, to_record(Settings()) | {name: value}, {"images": 3})
    with pytest.raises(RunError, match=rf"run\.json is damaged \({name} cannot be .*settings as options"):
        read_record(file)


def test_json_nested_without_end_is_damaged_json(out: Path, tmp_path: Path) -> None:
    (out / "run.json").write_text(DEEP)
    with pytest.raises(RunError, match="is damaged"):
        read_record(out / "run.json")
    for number, picture in enumerate(draw_cats(2, 32, 0)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "report.json").write_text(DEEP)
    assert len(prepare_photos(tmp_path / "photos", tmp_path / "made", 32, progress=False).written) == 2
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    (tmp_path / "b.zip.part.json").write_text(DEEP)
    assert download_photos((tmp_path / "a.zip").as_uri(), tmp_path / "b.zip", progress=False).is_file()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--checkpoint", EVIL],
        ["sample", "--out", f"{EVIL}.pkl"],
        ["prepare", EVIL, "--out=out"],
        ["draw", "--count=1", "--size=16", f"--out={EVIL}"],
        ["train", "--data=photos", "--size=32", "--base-filters=2", "--steps=1", "--quiet", f"--out={EVIL}"],
        ["download", "ZIP", f"--out={EVIL}.zip"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_name_reaches_the_terminal_with_its_control_characters(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.fromarray(draw_cats(1, 32, 0)[0]).save(tmp_path / "photos" / "cat.png")
    (tmp_path / "photos" / f"{EVIL}.png").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    try:
        main([(tmp_path / "x.zip").as_uri() if text == "ZIP" else text for text in arguments])
    except SystemExit as error:
        assert error.code == 2  # noqa: PT017
    said = "".join(capsys.readouterr())
    assert r"a\x1b[31m\nb\x9b\u2028c\u202e" in said
    assert not any(character in said for character in "\x1b\x9b\u2028\u202e")
    assert not any(line.startswith("b") for line in said.splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["closed pipe", "full disk"])
def test_work_that_is_done_is_a_success_though_nobody_can_be_told(
    kind: str, stream: str, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    if kind == "full disk":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing}
    words = [sys.executable, "-m", "catdcgan", "draw", "--count=2", "--size=16", "--out=cats"]
    done = subprocess.run(words, cwd=tmp_path, timeout=120, **streams)
    os.close(writing)
    assert done.returncode == 0
    assert b"Traceback" not in (done.stdout or b"") + (done.stderr or b"")
    assert len(list(tmp_path.rglob("*.png"))) == 2


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    """Let what waits for ever fail."""

    def give_up(*_: object) -> None:
        raise AssertionError("it waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 60, 60)  # again and again, should the first be caught
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize(
    "name",
    [
        "x.zip",
        "x.zip.part",
        "x.zip.part.json",
        "run/run.json",
        "run/history.jsonl",
        "made/report.json",
        "x.png",
    ],
)
def test_a_pipe_or_device_in_the_place_of_a_file_is_refused_by_name(
    name: str, kind: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    words = {
        "x.zip": ["download", (tmp_path / "photos.zip").as_uri(), f"--out={tmp_path / 'x.zip'}"],
        "run": [*RESUME, str(out)],
        "made": ["prepare", str(tmp_path / "photos.zip"), f"--out={tmp_path / 'made'}"],
        "x.png": ["sample", f"--checkpoint={out}", f"--out={tmp_path / 'x.png'}"],
    }
    start = next(start for start in words if name.startswith(start))
    assert main(words[start]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / name} is a pipe or a device, not a file" in error
    assert len(error.splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.usefixtures("_no_waiting")
def test_a_named_pipe_among_files_that_a_run_may_lack_counts_as_absent(out: Path) -> None:
    for file in ("images/step_0000000.png", "models/.lock-holder"):
        (out / file).unlink()
        os.mkfifo(out / file)
    assert main([*RESUME, str(out)]) == 0
    assert len(read_history(out / "history.jsonl")) == 3


@pytest.mark.parametrize("text", ["", "a\nb", "\udcff"])
@pytest.mark.parametrize(
    "command", ["train --data=drawn", "sample", "draw", "prepare x", "download file:///x"]
)
def test_a_name_that_no_file_should_have_is_refused_before_any_work(
    command: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*command.split(), f"--out={text}"])
    assert "argument --out: " in capsys.readouterr().err


@pytest.mark.parametrize("words", ["train --data=", "sample --checkpoint=", "prepare --out=x "])
def test_an_empty_name_is_not_the_current_folder(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split(" "))
    assert "the name is empty" in capsys.readouterr().err


def test_a_full_disk_is_named_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as Pillow and `write` report it

    monkeypatch.setattr(Image.Image, "save", full)
    out = tmp_path / "cats.png"
    assert main(["draw", "--count=1", "--size=16", f"--out={out}"]) == 1
    assert f"No space left on device: '{out}': make room" in capsys.readouterr().err


def test_a_folder_in_the_place_of_the_newest_checkpoint_counts_as_absent(out: Path) -> None:
    (out / "models" / "model.ckpt-2.index").unlink()
    (out / "models" / "model.ckpt-2.index").mkdir()
    assert main([*RESUME, str(out)]) == 0
    assert len(read_history(out / "history.jsonl")) == 3


def test_photos_none_of_which_can_be_used_are_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    assert main(["prepare", str(tmp_path / "a.zip"), f"--out={tmp_path / 'out'}"]) == 1
    assert "1 photo: 0 written, 1 unreadable" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "bit", "header", "text"])
@pytest.mark.parametrize("command", ["--latents=x.npy", "--set=1=1 --directions=x.npz"])
def test_damaged_latents_and_knobs_are_one_error_that_names_the_file(
    command: str,
    kind: str,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["directions", "--unsupervised", f"--checkpoint={out}", "--out=knobs.npz"]) == 0
    np.save("good.npy", random_latents(2, 8, 0))
    file = command.rpartition("=")[2]
    good = bytearray(Path("good.npy" if file == "x.npy" else "knobs.npz").read_bytes())
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        os.symlink("/dev/zero", file)
    elif kind == "folder":
        os.mkdir(file)
    else:
        start = good.index(b"NUMPY") - 1  # of the first array
        changed = {"bit": (8, b"\x35"), "header": (10, b"-" * 60), "text": (0, b"not NumPy's")}[kind]
        good[start + changed[0] : start + changed[0] + len(changed[1])] = changed[1]
        Path(file).write_bytes(good)
    capsys.readouterr()
    assert main(["sample", f"--checkpoint={out}", *command.split(), "--out=x.png"]) == 1
    error = capsys.readouterr().err
    assert file in error
    assert len(error.splitlines()) == 1
    assert not Path("x.png").exists()


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("vectors", np.full((8, 8), np.nan, np.float32)),
        ("vectors", np.full((8, 8), "a")),
        ("limits", np.full((8, 2), 1j)),
        ("names", np.array([], "U1")),
        ("names", np.arange(8)),
    ],
)
def test_knobs_that_are_no_numbers_are_refused(
    array: str, value: np.ndarray, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "knobs.npz"
    assert main(["directions", "--unsupervised", f"--checkpoint={out}", f"--out={file}"]) == 0
    np.savez(file, **{**np.load(file), array: value})
    page = [
        "export",
        "--to=page",
        f"--checkpoint={out}",
        f"--directions={file}",
        f"--out={tmp_path / 'x.html'}",
    ]
    for command in (page, ["sample", f"--checkpoint={out}", "--set=1=1", f"--directions={file}"]):
        assert main(command) == 1
        assert f"{file} is no file of directions" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["sample --save-latents=x.npy", "directions --out=x.npz", "export --to=page --out=x.html"]
)
def test_a_folder_in_the_place_of_a_file_is_refused_before_any_work(
    words: str, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir(words.rpartition("=")[2])
    assert main([*words.split(), f"--checkpoint={out}"]) == 1
    assert "is a folder: name a file" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))


def test_help_needs_neither_tensorflow_nor_matplotlib() -> None:
    text = "import sys, catdcgan.cli; sys.exit(bool({'matplotlib', 'tensorflow'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", text], timeout=120).returncode == 0
