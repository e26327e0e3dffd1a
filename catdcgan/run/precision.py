"""In which type a run multiplies, and what the user is told about it."""

from __future__ import annotations

import warnings
from dataclasses import replace

from catdcgan.screen import tell
from catdcgan.settings import Settings
from catdcgan.tf1 import GPUS
from catdcgan.tf1.device import check_bfloat16, known_to_lack_bfloat16, takes_bfloat16


def settle_precision(settings: Settings, quiet: bool) -> Settings:
    """Return the settings with `mixed_precision` as True for bfloat16 or False for float32.

    Unless it is `quiet` or float32 was asked for, a line on the screen says which. A warning says that
    bfloat16 is slow where the device has no instructions for it.

    Raises:
        ValueError: as in `takes_bfloat16`.
        InputError: as in `check_bfloat16`.
    """
    asked, device = settings.mixed_precision, "GPU" if GPUS else "CPU"
    bfloat16 = takes_bfloat16(asked)
    if bfloat16:
        check_bfloat16()
        if known_to_lack_bfloat16():
            warnings.warn(
                f"this {device} has no instructions for bfloat16, or a variable turns them off, so training "
                "is slow (on CPUs, a step takes two to eleven times as long as in float32). "
                "To train in float32: --mixed-precision off; in Python, mixed_precision=False",
                stacklevel=2,
            )
    if not quiet and asked not in (False, "off"):
        tell(f"Multiplying in {'bfloat16' if bfloat16 else 'float32'} on this {device}")
    return replace(settings, mixed_precision=bfloat16)
