"""Runs of the smallest nets, and what to compare of two of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from catdcgan import Dataset, train

Values = dict[str, np.ndarray]


def train_tiny(
    images: np.ndarray, folder: Path, get_batches: Callable[..., Any] | None = None, **changes: Any
) -> tuple[list[tuple[float, float]], list[Path]]:
    """Train the smallest nets for an epoch, into ``folder/models`` and ``folder/images``."""
    dataset = Dataset.from_array(images, seed=0)
    settings: dict[str, Any] = {
        "epoch_count": 1,
        "batch_size": 16,
        "z_dim": 8,
        "learning_rate_D": 2e-4,
        "learning_rate_G": 2e-4,
        "beta1": 0.5,
        "get_batches": get_batches or dataset.get_batches,
        "data_shape": dataset.shape,
        "data_image_mode": dataset.image_mode,
        "alpha": 0.2,
        "base_filters": 4,
        "model_dir": folder / "models",
        "image_dir": folder / "images",
        "show_every_epochs": 0,  # showing opens a window
    }
    return train(**settings | changes)


def files(folder: Path) -> dict[str, bytes]:
    """Every file in a folder and what is in it."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith(".lock")  # which stays, and says nothing by itself
    }


def same(one: Values, other: Values) -> bool:
    """Whether two checkpoints hold the same bits."""
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)
