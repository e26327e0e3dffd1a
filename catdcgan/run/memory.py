"""Check whether training fits into memory, before TensorFlow fails with a hundred lines of errors.

Nothing that could run is refused: the memory needed is a lower bound, the memory available an upper bound. A
dozen short runs on a CPU took 1.7 to 2.5 times the estimate (peak resident memory, less the 0.6 GB that
TensorFlow takes first). At 128x128 pixels and batches of 16: 0.36 GB at width 16 (estimate 0.16), 0.85 GB at
width 32 (0.39), 1.95 GB at width 64 (1.02). With XLA it was 4 times the estimate.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from catdcgan.errors import TrainingError
from catdcgan.settings import IMAGE_MODES, Settings

FLOAT = 4  # bytes of a float32
KERNEL = 5 * 5
SMALLER = "use smaller networks (base_filters), a smaller batch_size or smaller images"


def parameter_counts(image_size: int, channels: int, z_dim: int, base_filters: int) -> tuple[int, int]:
    """Number of trainable weights of the generator and of the discriminator."""
    b, features = base_filters, (image_size // 16) ** 2 * 16 * base_filters
    # A convolution has a bias, and the beta and gamma of its batch norm, for each filter.
    widths = [16 * b, 8 * b, 4 * b, 2 * b, b]
    generator = (z_dim + 1) * features + KERNEL * b * channels + channels
    generator += sum(KERNEL * n * m + 3 * m for n, m in pairwise(widths))
    widths = [channels, b, 2 * b, 4 * b, 8 * b, 16 * b]
    discriminator = features + 1 + sum(KERNEL * n * m + 3 * m for n, m in pairwise(widths))
    return generator, discriminator


def needed_memory(settings: Settings, image_count: int) -> int:
    """A lower bound, in bytes, on the memory that training takes in addition to TensorFlow itself.

    Args:
        settings: of the run.
        image_count: images in an epoch; a batch holds no more.
    """
    image_size, base_filters = settings.image_size, settings.base_filters
    channels, batch_size = IMAGE_MODES[settings.image_mode], min(settings.batch_size, image_count)
    generator, discriminator = parameter_counts(image_size, channels, settings.z_dim, base_filters)
    # Adam keeps two more numbers per weight. One network's gradients are freed before the other's exist.
    numbers = 3 * (generator + discriminator) + max(generator, discriminator)
    numbers += generator if settings.average_decay else 0
    # Each layer's output, before and after batch norm, is kept for the gradients: once for the generator, and
    # for the discriminator on real images and on fakes. In units of the largest layer, s x s x b:
    generator_layers = 1 / 16 + 1 / 8 + 1 / 4 + 1 / 2 + 1
    discriminator_layers = 1 / 4 + 1 / 8 + 1 / 16 + 1 / 8 + 1 / 16
    layers = 2 * (generator_layers + 2 * discriminator_layers)
    return FLOAT * (numbers + int(batch_size * image_size**2 * base_filters * layers))


def available_memory(root: Path = Path("/")) -> int | None:
    """An upper bound, in bytes, on the memory that this program can get; None if the system does not tell.

    On Linux this is all physical memory, or a container's lower limit, plus swap space. Memory that other
    programs use is included, because they may free it. macOS and Windows create swap space as needed.

    Args:
        root: the folder that holds ``proc`` and ``sys``.
    """
    try:
        lines = (root / "proc/meminfo").read_text("ascii").splitlines()
        amounts = dict(line.split(":") for line in lines)
        physical, swap = (1024 * int(amounts[name].split()[0]) for name in ("MemTotal", "SwapTotal"))
        return min([physical, *_limits(root)]) + swap
    except (OSError, ValueError, KeyError):
        return None


def _limits(root: Path) -> list[int]:
    """The memory limits, in bytes, of this program's control groups, version 2 or 1."""
    limits = []
    for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inside = Path(group.lstrip("/"))  # the limits of enclosing groups apply too
        files = [top / folder / name for folder in (inside, *inside.parents)]
        texts = [file.read_text("ascii").strip() for file in files if file.is_file()]
        limits += [int(limit) for limit in texts if limit != "max"]
    return limits


def refuse_beyond_memory(settings: Settings, image_count: int) -> None:
    """Refuse training that cannot fit into memory; takes the arguments of `needed_memory`.

    Raises:
        TrainingError: it needs more; the message says what to make smaller.
    """
    needed, available = needed_memory(settings, image_count), available_memory()
    if available is not None and needed > available:
        raise TrainingError(
            f"training needs at least {needed / 1e9:,.1f} GB of memory, but only {available / 1e9:,.1f} GB "
            f"are available: {SMALLER}. Currently, base_filters is {settings.base_filters}, batch_size "
            f"{settings.batch_size}, images {settings.image_size} x {settings.image_size}"
        )
