"""The device that TensorFlow runs on, and whether it multiplies in bfloat16."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from catdcgan.errors import InputError
from catdcgan.tf1 import GPUS, tf

CPU_INFO = Path("/proc/cpuinfo")  # Linux: lists the CPU's features
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
# Limits on oneDNN's instruction set that exclude these two; it ignores names that it does not know.
BELOW_BFLOAT16 = ["SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"]


def describe_device() -> str:
    """Say whether TensorFlow found a GPU, and in which type ``mixed_precision="auto"`` multiplies here."""
    found = "No GPU found: TensorFlow runs on the CPU. (TF_CPP_MIN_LOG_LEVEL=0 shows what it looked for.)"
    if GPUS:
        found = f"GPU found: {', '.join(_details(gpu).get('device_name', gpu.name) for gpu in GPUS)}."
    return f"{found} Mixed precision auto multiplies in {'bfloat16' if multiplies_bfloat16() else 'float32'}."


def takes_bfloat16(mixed_precision: bool | str) -> bool:
    """Whether to multiply in bfloat16.

    Args:
        mixed_precision: True or "on", False or "off"; or "auto", for what `multiplies_bfloat16` says.

    Raises:
        ValueError: it is none of these.
    """
    if mixed_precision == "auto":
        return multiplies_bfloat16()
    if mixed_precision not in (True, False, "on", "off"):
        raise ValueError(f'mixed_precision is {mixed_precision!r}, not True, False, "auto", "on" or "off"')
    return mixed_precision in (True, "on")


def multiplies_bfloat16() -> bool:
    """Whether this device has instructions that multiply in bfloat16, and TensorFlow uses them.

    A rule and not a measurement, so that the same machine always gives the same answer: a GPU of compute
    capability 8.0 or above; else a CPU with AVX512-BF16 or AMX-BF16, unless an environment variable turns
    oneDNN off or keeps it from them. Where the CPU's features cannot be read, the answer is no.
    """
    if GPUS:
        return bool(_details(GPUS[0]).get("compute_capability", (0, 0)) >= (8, 0))
    _, limit = _onednn_limit()
    return bool(_onednn_is_on() and limit not in BELOW_BFLOAT16 and BFLOAT16_FLAGS & _cpu_flags())


def known_to_lack_bfloat16() -> bool:
    """Whether this device is known to have no such instructions; of some CPUs neither is known."""
    return not multiplies_bfloat16() and bool(GPUS or not _onednn_is_on() or _cpu_flags())


def check_bfloat16() -> None:
    """Refuse a limit on oneDNN's instruction set under which its first bfloat16 product ends the process.

    TensorFlow leaves that product to oneDNN if the CPU has AVX512 or AVX-NE-CONVERT, whatever the limit. The
    CPU's features are known on Linux only; elsewhere nothing is refused.

    Raises:
        InputError: such a limit is set; the message names the variable.
    """
    if GPUS or not _onednn_is_on():
        return
    (name, limit), flags = _onednn_limit(), _cpu_flags()
    limits = ["SSE41", "AVX", "AVX2", "AVX2_VNNI"]
    if "avx_ne_convert" not in flags:
        limits.append("AVX2_VNNI_2")
    if limit in limits and flags & {"avx512f", "avx_ne_convert"}:
        raise InputError(
            f"{name}={os.environ[name]} keeps oneDNN from multiplying in bfloat16, as mixed precision does: "
            f"unset {name}, or train without mixed precision"
        )


def _details(gpu: Any) -> dict[str, Any]:
    return dict(tf.config.experimental.get_device_details(gpu))


def _cpu_flags() -> set[str]:
    """The features of an x86 CPU, in Linux's words; none of other CPUs, or where they cannot be read."""
    lines = CPU_INFO.read_text("utf-8").splitlines() if CPU_INFO.exists() else []
    return {word for line in lines if line.startswith("flags") for word in line.split()}


def _onednn_limit() -> tuple[str, str]:
    """The variable that limits oneDNN's instruction set, the first that is set, and its value."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        if os.environ.get(name):
            return name, os.environ[name].upper()
    return "", ""


def _onednn_is_on() -> bool:
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() not in ("0", "false")
