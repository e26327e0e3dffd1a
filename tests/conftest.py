"""What several tests share: drawn cats, a tiny trained run, and the real photos where they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from catdcgan import draw_cats

# Many tests compare bits, which are promised on CPUs only, so GPUs are hidden: TensorFlow is not loaded yet.
if os.environ.get("CATDCGAN_TESTS") != "gpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test is slow, too, if a fixture trains for it, or starts a browser."""
    for item in items:
        if {"run", "trained", "user", "browser"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def cats() -> np.ndarray:
    """Forty drawn cats, uint8 (40, 32, 32, 3)."""
    return draw_cats(40, size=32, seed=0)


@pytest.fixture(scope="session")
def run(cats: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run: ``models`` and ``images`` of two epochs of three steps at width 4."""
    from tiny_runs import train_tiny  # loads TensorFlow

    folder = tmp_path_factory.mktemp("run")
    train_tiny(cats, folder, epoch_count=2, z_dim=100, sample_every_steps=2)
    return folder


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """Real cat faces of 128 pixels."""
    return shared("cats_128")


@pytest.fixture(scope="session")
def annotated_photos() -> Path:
    """Photos of the CAT dataset with their annotations."""
    return shared("cat_annotated")


def shared(name: str) -> Path:
    """A folder of real photos; the test is skipped where it is not."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"no real photos: {folder} is not on this machine")
    return folder


@pytest.fixture
def bfloat16() -> None:
    """Skip a test where oneDNN must not multiply in bfloat16."""
    from catdcgan.errors import InputError
    from catdcgan.tf1.device import check_bfloat16  # loads TensorFlow

    try:
        check_bfloat16()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to list the CPU's features in, for a machine without a GPU and without variables for oneDNN."""
    file = tmp_path / "cpuinfo"
    for module in ("tf1.device", "run.precision", "graph", "run.start"):
        monkeypatch.setattr(f"catdcgan.{module}.GPUS", [])
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("catdcgan.tf1.device.CPU_INFO", file)
    return file
