"""What training needs of memory is known before it is asked for, and never said to be more than it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import train_tiny

from catdcgan import model_inputs, model_loss
from catdcgan.errors import TrainingError
from catdcgan.run.memory import available_memory, needed_memory, parameter_counts
from catdcgan.settings import Settings
from catdcgan.tf1 import tf

MEMINFO = "MemTotal: 1000 kB\nMemFree:  10 kB\nSwapTotal: 24 kB\nHugePages_Total: 0\n"


@pytest.mark.parametrize("made", [(32, 3, 8, 4), (48, 1, 100, 3)])
def test_the_weights_are_counted_as_the_graph_has_them(made: tuple[int, int, int, int]) -> None:
    size, channels, z_dim, width = made
    with tf.Graph().as_default():
        real, z, _, _ = model_inputs((size, size, channels), z_dim)
        model_loss(real, z, channels, 0.2, base_filters=width)
        counts = tuple(
            sum(variable.shape.num_elements() for variable in tf.trainable_variables(network))
            for network in ("generator", "discriminator")
        )
    assert parameter_counts(*made) == counts
    assert parameter_counts(128, 3, 100, 64) == (24_034_819, 17_484_289)  # the article's


# MiB: the peak of a short run on a CPU, less what TensorFlow takes first
MEASURED: list[tuple[dict[str, float], int]] = [
    ({"base_filters": 16}, 348),
    ({"base_filters": 32}, 811),
    ({"base_filters": 64}, 1863),
    ({"base_filters": 128, "image_size": 32, "batch_size": 4, "average_decay": 0.9}, 3573),
]


@pytest.mark.parametrize(("changes", "measured"), MEASURED)
def test_the_estimate_is_half_of_what_was_measured_and_never_above_it(
    changes: dict[str, Any], measured: int
) -> None:
    settings = replace(Settings(batch_size=16), **changes)
    assert 0.4 < needed_memory(settings, 1000) / 2**20 / measured < 0.7


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/\n", {}, 1024),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "512000"}, 524),
        ("0::/a\n", {"memory.max": "256000"}, 274),  # a container that sees its own group as the top
        ("4:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "128000"}, 149),
        ("4:memory:/a\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 1024),
    ],
)
def test_memory_is_what_the_machine_and_the_container_allow(
    group: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    said = {"proc/meminfo": MEMINFO, "proc/self/cgroup": group}
    for name, text in (said | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_memory(tmp_path) == expected * 1024
    (tmp_path / "proc/meminfo").unlink()
    assert available_memory(tmp_path) is None, "a system that does not tell"


@pytest.mark.slow
@pytest.mark.parametrize(("there", "gpus"), [(1_000_000, []), (None, []), (1_000_000, ["a GPU"])])
def test_what_cannot_fit_is_refused_before_anything_is_made(
    there: int | None, gpus: list[str], cats: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdcgan.run.memory.available_memory", lambda: there)
    monkeypatch.setattr("catdcgan.run.start.GPUS", gpus)
    if there is None or gpus:
        assert len(train_tiny(cats, tmp_path, step_count=1)[0]) == 1
        return
    with pytest.raises(
        TrainingError, match=r"needs at least .* GB .*base_filters.*batch_size.*smaller images"
    ):
        train_tiny(cats, tmp_path)
    assert not list(tmp_path.iterdir())
