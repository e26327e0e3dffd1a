"""An exported generator must make the images of `sample`, in the runtime that it is made for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from pictures import files
from tiny_runs import save_lively_generator

from catdcgan import InputError, export_onnx, export_savedmodel, random_latents, sample
from catdcgan.cli import main
from catdcgan.run.checkpoint import Architecture
from catdcgan.tf1 import tf

Z_DIM = 12


@pytest.fixture(
    scope="module", params=[(4, 3, 32), (4, 1, 48), (32, 3, 32)], ids=["colour", "gray", "width 32"]
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    width, channels, size = request.param
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    return save_lively_generator(path, Architecture(Z_DIM, width, size, channels))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lively_generator(
        tmp_path_factory.mktemp("narrow") / "model.ckpt", Architecture(Z_DIM, 4, 32, 3)
    )


@pytest.mark.parametrize("how", [(1.0, 0.2), (0.5, 0.3)], ids=["", "half range, other slope"])
def test_savedmodel_makes_the_images_of_sample_to_the_bit(
    how: tuple[float, float], model: Path, tmp_path: Path
) -> None:
    folder = export_savedmodel(model, tmp_path / "cats", *how)
    assert folder == tmp_path / "cats" / "1"
    loaded = tf.compat.v2.saved_model.load(str(folder), tags=["serve"])
    signature = loaded.signatures["serving_default"]
    assert signature.structured_outputs["images"].dtype == tf.uint8
    for count in (1, 5):
        z = random_latents(count, Z_DIM)
        images = signature(latents=tf.constant(z))["images"].numpy()
        expected = sample(model, z, *how)
        assert expected.std() > 10
        assert np.array_equal(images, expected)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "half"])
@pytest.mark.parametrize("how", [(1.0, 0.2), (0.5, 0.3)], ids=["", "half range, other slope"])
def test_onnx_makes_the_images_of_sample_within_a_gray_level(
    how: tuple[float, float], half: bool, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "cats.onnx"
    export_onnx(model, file, half, *how)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        z = random_latents(count, Z_DIM)
        (images,) = session.run(["images"], {"latents": z})
        expected = sample(model, z, *how)
        assert images.dtype == np.uint8
        assert images.shape == expected.shape
        assert expected.std() > 10
        assert np.abs(images.astype(int) - expected).max() <= 1


def test_onnx_in_half_floats_is_half_as_large(narrow: Path, tmp_path: Path) -> None:
    for half in (False, True):
        export_onnx(narrow, tmp_path / f"{half}.onnx", half)
    whole, halved = ((tmp_path / f"{half}.onnx").stat().st_size for half in (False, True))
    assert 0.5 < halved / whole < 0.6, "biases, batch norm and the operations are not halved"


def test_onnx_file_says_what_goes_in_and_out_and_who_made_it(narrow: Path, tmp_path: Path) -> None:
    export_onnx(narrow, tmp_path / "cats.onnx")
    made = onnx.load(tmp_path / "cats.onnx")
    onnx.checker.check_model(made, full_check=True)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (latents,), (images,) = session.get_inputs(), session.get_outputs()
    assert (latents.name, latents.type, latents.shape) == ("latents", "tensor(float)", ["n", Z_DIM])
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["n", 32, 32, 3])
    assert made.producer_name == "catdcgan"


@pytest.mark.parametrize(
    ("to", "out", "made"),
    [
        ("savedmodel", "cats", "cats/1"),
        ("onnx", "new/cats.onnx", "new/cats.onnx"),
        ("onnx --half", "cats.onnx", "cats.onnx"),
    ],
)
def test_export_as_a_command_says_where_the_file_is(
    to: str, out: str, made: str, narrow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--to", *to.split(), f"--checkpoint={narrow}", f"--out={tmp_path / out}"]) == 0
    assert (tmp_path / made).exists()
    captured = capsys.readouterr()
    assert str(tmp_path / made) in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--to savedmodel --out exists", "exists/1 exists: remove it, or name another folder"),
        ("--to savedmodel --out a-file", "a-file is a file"),
        ("--to onnx --out a-file/cats.onnx", "a-file is a file"),
        ("--to onnx --out exists.onnx", "exists.onnx is a folder: name a file"),
        ("--to onnx --out cats.onnx --checkpoint nosuch", "no checkpoint nosuch"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_changes_nothing(
    arguments: str,
    message: str,
    narrow: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exists" / "1").mkdir(parents=True)
    (tmp_path / "exists.onnx").mkdir()
    (tmp_path / "a-file").touch()
    before = files(tmp_path)
    assert main(["export", f"--checkpoint={narrow}", *arguments.split()]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("catdcgan: ")
    assert message in line
    assert files(tmp_path) == before


def test_savedmodel_that_cannot_be_written_is_an_os_error_and_nothing_of_it_stays(
    narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "no space left")

    monkeypatch.setattr(tf.saved_model.Builder, "save", fail)
    with pytest.raises(OSError, match="cats/1: no space left"):
        export_savedmodel(narrow, tmp_path / "cats")
    assert list(files(tmp_path)) == ["cats"]


def test_without_onnx_the_error_says_how_to_get_it(
    narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[onnx\]'"):
        export_onnx(narrow, tmp_path / "cats.onnx")


def test_an_onnx_that_is_too_new_for_tensorflow_is_an_error_that_names_one_that_fits(
    narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("import ml_dtypes; ml_dtypes.of_next_year")
    monkeypatch.delitem(sys.modules, "onnx")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"of_next_year.*pip install 'onnx<1\.19'"):
        export_onnx(narrow, tmp_path / "cats.onnx")


def test_generator_too_large_for_the_format_is_refused(
    narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdcgan.export.onnx.LARGEST_FILE", 1000)
    with pytest.raises(InputError, match="too many for an ONNX file"):
        export_onnx(narrow, tmp_path / "cats.onnx")
    assert not files(tmp_path)
