"""Whether training fits into memory, found out before TensorFlow says so in a hundred lines.

Nothing that could run is refused: what training needs is estimated from below, what there is from above. A
dozen short runs on a CPU took 1.7 to 2.5 times the estimate (peak of the resident memory, less the 0.6 GB
that TensorFlow takes first). At 128x128 pixels and batches of 16: 0.36 GB at width 16 (estimate 0.16), 0.85
GB at width 32 (0.39), 1.95 GB at width 64 (1.02). With XLA it was 4 times the estimate.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from catdcgan.errors import TrainingError
from catdcgan.settings import IMAGE_MODES, Settings

FLOAT = 4  # bytes of a float32
KERNEL = 5 * 5
SMALLER = "take smaller networks (base_filters), a smaller batch_size or smaller images"


def parameter_counts(image_size: int, channels: int, z_dim: int, base_filters: int) -> tuple[int, int]:
    """How many weights (G, D) the generator and the discriminator train, at any width."""
    b, features = base_filters, (image_size // 16) ** 2 * 16 * base_filters
    # A convolution has a bias, and the beta and gamma of its batch norm, for each filter.
    widths = [16 * b, 8 * b, 4 * b, 2 * b, b]
    generator = (z_dim + 1) * features + KERNEL * b * channels + channels
    generator += sum(KERNEL * n * m + 3 * m for n, m in pairwise(widths))
    widths = [channels, b, 2 * b, 4 * b, 8 * b, 16 * b]
    discriminator = features + 1 + sum(KERNEL * n * m + 3 * m for n, m in pairwise(widths))
    return generator, discriminator


def needed_memory(settings: Settings, image_count: int) -> int:
    """The least memory, in bytes, that training takes beyond what TensorFlow has taken when it is loaded.

    Args:
        settings: of the run.
        image_count: images in an epoch; a batch holds no more.
    """
    image_size, base_filters = settings.image_size, settings.base_filters
    channels, batch_size = IMAGE_MODES[settings.image_mode], min(settings.batch_size, image_count)
    generator, discriminator = parameter_counts(image_size, channels, settings.z_dim, base_filters)
    # Adam keeps two more numbers of each weight. One network's gradients are gone when the other's are made.
    numbers = 3 * (generator + discriminator) + max(generator, discriminator)
    numbers += generator if settings.average_decay else 0
    # What a layer makes, before and after batch norm, is kept for the gradients: of the generator, and of the
    # discriminator on real images and on forgeries. In units of the largest layer, s x s x b:
    generator_layers = 1 / 16 + 1 / 8 + 1 / 4 + 1 / 2 + 1
    discriminator_layers = 1 / 4 + 1 / 8 + 1 / 16 + 1 / 8 + 1 / 16
    layers = 2 * (generator_layers + 2 * discriminator_layers)
    return FLOAT * (numbers + int(batch_size * image_size**2 * base_filters * layers))


def memory_there_is(root: Path = Path("/")) -> int | None:
    """The most memory, in bytes, that this program could ever get; None where the system does not tell.

    On Linux, all physical memory, in a container no more than its limit, and swap space. What other programs
    use at the moment does not count: it may be given back. macOS and Windows make swap space as they go.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    try:
        lines = (root / "proc/meminfo").read_text("ascii").splitlines()
        amounts = dict(line.split(":") for line in lines)
        physical, swap = (1024 * int(amounts[name].split()[0]) for name in ("MemTotal", "SwapTotal"))
        return min([physical, *_limits(root)]) + swap
    except (OSError, ValueError, KeyError):
        return None


def _limits(root: Path) -> list[int]:
    """The limits, in bytes, of the control groups that this program is in, of version 2 or 1."""
    limits = []
    for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inside = Path(group.lstrip("/"))  # a group keeps to the limits of those that it is in
        files = [top / folder / name for folder in (inside, *inside.parents)]
        said = [file.read_text("ascii").strip() for file in files if file.is_file()]
        limits += [int(limit) for limit in said if limit != "max"]
    return limits


def refuse_beyond_memory(settings: Settings, image_count: int) -> None:
    """Refuse what cannot be trained in the memory that there is, with the arguments of `needed_memory`.

    Raises:
        TrainingError: it needs more; the message says what to make smaller.
    """
    needed, there = needed_memory(settings, image_count), memory_there_is()
    if there is not None and needed > there:
        raise TrainingError(
            f"training needs at least {needed / 1e9:,.1f} GB of memory, and there are {there / 1e9:,.1f} GB: "
            f"{SMALLER}. Now base_filters is {settings.base_filters}, batch_size {settings.batch_size}, "
            f"images {settings.image_size} x {settings.image_size}"
        )
