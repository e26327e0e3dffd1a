"""Pictures that summarize a run: a plot of its losses, a strip and an animation of its sample grids."""

from __future__ import annotations

from catdcgan.animation import save_animation
from catdcgan.files import atomic_write
from catdcgan.images import plot_losses, save_image, training_strip
from catdcgan.run.folder import RunFolder
from catdcgan.run.history import read_losses

ANIMATION_FRAMES = 100  # at most; more make the file large and the animation long


def summarize(folder: RunFolder, size: int) -> None:
    """Plot the losses of a run so far, and make an animation and a strip of its sample grids.

    Args:
        folder: of the run.
        size: side of an image in pixels.

    Raises:
        OSError: a file cannot be read or written.
    """
    images = folder.images
    losses = read_losses(folder.history)
    samples = folder.grids()
    if losses:
        with atomic_write(images / "losses.png") as file:
            plot_losses(losses).savefig(file)
    if samples:
        save_image(training_strip(samples, size), images / "training.png")
        save_animation(samples[:: 1 + len(samples) // ANIMATION_FRAMES], images / "training.gif")
