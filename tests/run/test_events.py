"""TensorBoard's files hold what was written, at once, and a start after a break takes back what was lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catdcgan.run.events import event_writer, write_picture, write_scalars
from catdcgan.tf1 import tf


@pytest.fixture(scope="module")
def graph() -> tf.Graph:
    """A small graph, finalized as training has it."""
    with tf.Graph().as_default() as graph:
        tf.multiply(tf.placeholder(tf.float32, (None, 2), name="latents"), 2.0, name="images")
    graph.finalize()
    return graph


@pytest.fixture(params=["RGB", "L"])
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / "step_0000007.png"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).convert(request.param).save(file)
    return file


def read(file: Path) -> list[Any]:
    """The events in a file."""
    return list(tf.train.summary_iterator(str(file)))


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def scalars(events: list[Any]) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value)
        for event in events
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]


def restarts(events: list[Any]) -> list[int]:
    """The steps from which on TensorBoard forgets what it has read before."""
    return [event.step for event in events if event.session_log.status == tf.SessionLog.START]


def graphs(events: list[Any]) -> list[Any]:
    return [tf.GraphDef.FromString(event.graph_def) for event in events if event.graph_def]


# --- what is written ---------------------------------------------------------------------------------------


def test_scalars_come_back_with_their_step_and_name(graph: tf.Graph, tmp_path: Path) -> None:
    with event_writer(tmp_path / "not" / "yet", 0, graph) as writer:
        write_scalars(writer, 1, {"loss/discriminator": 1.5, "loss/generator": 0.25})
        of_numpy: Any = np.float32(0.5)
        write_scalars(writer, 2, {"loss/discriminator": of_numpy})
        write_scalars(writer, 2**40, {"loss/generator": float("inf")})
    assert scalars(read(only_file(tmp_path / "not" / "yet"))) == [
        (1, "loss/discriminator", 1.5),
        (1, "loss/generator", 0.25),
        (2, "loss/discriminator", 0.5),
        (2**40, "loss/generator", float("inf")),
    ]


def test_a_picture_goes_in_as_the_bytes_of_its_file(graph: tf.Graph, picture: Path, tmp_path: Path) -> None:
    with event_writer(tmp_path / "events", 0, graph) as writer:
        write_picture(writer, 7, "samples", picture)
    event = read(only_file(tmp_path / "events"))[-1]
    (value,) = event.summary.value
    assert (event.step, value.tag) == (7, "samples")
    assert value.image.encoded_image_string == picture.read_bytes()
    assert (value.image.width, value.image.height) == (30, 20)
    with Image.open(picture) as image:
        assert (
            value.image.colorspace == {"RGB": 3, "L": 1}[image.mode]
        )  # as TensorFlow's summary.proto has it


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_what_is_no_picture_is_an_os_error_and_harms_nothing(
    content: bytes | None, graph: tf.Graph, tmp_path: Path
) -> None:
    file = tmp_path / "step_0000007.png"
    if content:
        file.write_bytes(content)
    with event_writer(tmp_path / "events", 5, graph) as writer:
        with pytest.raises(OSError, match=file.name):
            write_picture(writer, 7, "samples", file)
        write_scalars(writer, 7, {"loss": 1.0})
    assert scalars(read(only_file(tmp_path / "events"))) == [(7, "loss", 1.0)]


def test_tensorboard_knows_the_file_by_its_name_and_its_first_event(graph: tf.Graph, tmp_path: Path) -> None:
    with event_writer(tmp_path, 0, graph):
        pass
    assert "tfevents" in only_file(tmp_path).name
    assert read(only_file(tmp_path))[0].file_version == "brain.Event:2"


def test_every_event_has_its_time(graph: tf.Graph, tmp_path: Path) -> None:
    before = time_of_a_file(tmp_path / "now")
    with event_writer(tmp_path / "events", 0, graph) as writer:
        write_scalars(writer, 1, {"loss": 1.0})
    assert all(abs(event.wall_time - before) < 3600 for event in read(only_file(tmp_path / "events")))


def time_of_a_file(file: Path) -> float:
    file.touch()
    return file.stat().st_mtime


def test_the_graph_is_written_whole_at_a_fresh_start_and_never_again(graph: tf.Graph, tmp_path: Path) -> None:
    with event_writer(tmp_path / "fresh", 0, graph):
        pass
    (written,) = graphs(read(only_file(tmp_path / "fresh")))
    assert {node.name: node.op for node in written.node} == {
        op.name: op.type for op in graph.get_operations()
    }
    (images,) = (node for node in written.node if node.name == "images")
    assert [dim.size for dim in images.attr["_output_shapes"].list.shape[0].dim] == [-1, 2]  # on the edges
    with event_writer(tmp_path / "resumed", 5, graph):
        pass
    assert graphs(read(only_file(tmp_path / "resumed"))) == []


def test_writing_adds_no_op(graph: tf.Graph, picture: Path, tmp_path: Path) -> None:
    assert graph.finalized
    before = graph.as_graph_def().SerializeToString(deterministic=True)
    with graph.as_default(), event_writer(tmp_path / "events", 0, graph) as writer:
        write_scalars(writer, 1, {"loss": 1.0})
        write_picture(writer, 1, "samples", picture)
    assert graph.as_graph_def().SerializeToString(deterministic=True) == before


# --- breaks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 5516])
def test_a_start_takes_back_the_steps_that_it_takes_again_and_no_other(
    step: int, graph: tf.Graph, tmp_path: Path
) -> None:
    """Step `step` itself is in the checkpoint: its losses and pictures stay."""
    with event_writer(tmp_path, step, graph) as writer:
        write_scalars(writer, step + 1, {"loss": 1.0})
    events = read(only_file(tmp_path))
    assert restarts(events) == restarts(events[:-1]) == [step + 1]  # and before anything else is written


def test_each_start_has_a_file_of_its_own_in_the_order_of_the_names(graph: tf.Graph, tmp_path: Path) -> None:
    written: list[Path] = []
    for step in (0, 40, 9, 100):  # 9: the newer checkpoints were deleted
        with event_writer(tmp_path, step, graph) as writer:
            write_scalars(writer, step + 1, {"loss": 1.0})
        written += [file for file in tmp_path.iterdir() if file not in written]
    assert sorted(written) == written
    assert [scalars(read(file)) for file in written] == [[(step, "loss", 1.0)] for step in (1, 41, 10, 101)]


def test_a_file_cut_off_in_mid_record_does_no_harm_to_the_next_start(graph: tf.Graph, tmp_path: Path) -> None:
    with event_writer(tmp_path, 0, graph) as writer:
        write_scalars(writer, 1, {"loss": 1.0})
    killed = only_file(tmp_path)
    torn = killed.read_bytes()[:-5]
    killed.write_bytes(torn)
    with event_writer(tmp_path, 0, graph) as writer:
        write_scalars(writer, 1, {"loss": 2.0})
    assert killed.read_bytes() == torn
    (new,) = (file for file in tmp_path.iterdir() if file != killed)
    assert scalars(read(new)) == [(1, "loss", 2.0)]


def test_a_record_can_be_read_as_soon_as_it_is_written(
    graph: tf.Graph, picture: Path, tmp_path: Path
) -> None:
    """So that TensorBoard shows it while training goes on, and a killed run has lost none."""
    with event_writer(tmp_path / "events", 0, graph) as writer:
        assert len(graphs(read(only_file(tmp_path / "events")))) == 1
        write_scalars(writer, 1, {"loss": 1.0})
        assert scalars(read(only_file(tmp_path / "events"))) == [(1, "loss", 1.0)]
        write_picture(writer, 1, "samples", picture)
        assert read(only_file(tmp_path / "events"))[-1].summary.value[0].image.width == 30


def open_event_files() -> list[str]:
    numbers = Path("/proc/self/fd")
    if not numbers.is_dir():
        pytest.skip("only Linux tells which files are open")
    names = [os.readlink(number) for number in numbers.iterdir() if number.is_symlink()]
    return [name for name in names if "tfevents" in name]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_file_is_closed_at_the_end_however_it_comes(
    error: type[BaseException] | None, graph: tf.Graph, tmp_path: Path
) -> None:
    threads = threading.active_count()
    writers = []  # as long as there is one, its file is not closed by itself

    def write() -> None:
        with event_writer(tmp_path, 0, graph) as writer:
            writers.append(writer)
            write_scalars(writer, 1, {"loss": 1.0})
            assert len(open_event_files()) == 1
            if error:
                raise error("of training")

    if error:
        with pytest.raises(error, match="of training"):
            write()
    else:
        write()
    assert open_event_files() == []
    assert threading.active_count() == threads
    assert scalars(read(only_file(tmp_path))) == [(1, "loss", 1.0)]


def test_an_error_of_training_stays_what_it_is(graph: tf.Graph, tmp_path: Path) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError), event_writer(tmp_path, 0, graph):
        raise tf.errors.InvalidArgumentError(None, None, "of training")


def test_a_full_disk_is_an_os_error_at_once_that_names_the_file(graph: tf.Graph, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with event_writer(tmp_path, 5, graph) as writer:
        file = only_file(tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 60, unlimited[1]))
        try:
            with pytest.raises(OSError, match="cannot write") as caught:
                write_scalars(writer, 6, {"loss" * 20: 1.0})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert str(file) in str(caught.value)


def test_a_folder_that_cannot_be_written_to_is_an_os_error_that_names_it(
    graph: tf.Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), event_writer(tmp_path / "file", 0, graph):
        pass
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    with pytest.raises(OSError, match=r"cannot write .*absent"), event_writer(tmp_path / "absent", 0, graph):
        pass
