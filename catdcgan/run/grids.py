"""The sample grids of a run: the same latents throughout, so that progress can be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np

from catdcgan.images import image_grid, save_image
from catdcgan.run.events import write_picture
from catdcgan.run.folder import RunFolder
from catdcgan.tf1 import tf


class Grids:
    """Writes the grids, and knows their files."""

    def __init__(
        self,
        folder: RunFolder,
        image_mode: str,
        generate: Callable[[], np.ndarray],
        events: tf.io.TFRecordWriter | None,
    ) -> None:
        """Write into a run's folder and its event file what `generate` gives: uint8 (25, s, s, c)."""
        self.files: list[Path] = []
        self.generate = generate
        self._folder, self._image_mode, self._events = folder, image_mode, events

    def write(self, step: int, open_history: TextIO) -> np.ndarray:
        """Generate and write the grid of a step; return its images.

        Raises:
            TrainingError: the run's folder was moved or removed.
            OSError: it cannot be written.
        """
        self._folder.refuse_if_moved(open_history)
        file, images = self._folder.grid(step), self.generate()
        save_image(image_grid(images, self._image_mode), file)
        self.files.append(file)
        if self._events:
            write_picture(self._events, step, "samples", file)
        return images
