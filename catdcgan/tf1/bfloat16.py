"""Whether this machine can multiply in bfloat16."""

from __future__ import annotations

import os
from pathlib import Path

from catdcgan.errors import InputError
from catdcgan.tf1 import GPUS

CPU_INFO = Path("/proc/cpuinfo")  # Linux: lists the CPU's features


def check_bfloat16() -> None:
    """Refuse a limit on oneDNN's instruction set under which its first bfloat16 product ends the process.

    TensorFlow leaves that product to oneDNN if the CPU has AVX512 or AVX-NE-CONVERT, whatever the limit. The
    CPU's features are known on Linux only; elsewhere nothing is refused.

    Raises:
        InputError: such a limit is set; the message names the variable.
    """
    names = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # oneDNN uses the first that is set
    name = next((name for name in names if os.environ.get(name)), None)
    onednn_off = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("0", "false")
    if not name or onednn_off or GPUS or not CPU_INFO.exists():
        return
    flags = set(CPU_INFO.read_text("utf-8").split())
    limits = ["SSE41", "AVX", "AVX2", "AVX2_VNNI"]
    if "avx_ne_convert" not in flags:
        limits.append("AVX2_VNNI_2")
    if os.environ[name].upper() in limits and flags & {"avx512f", "avx_ne_convert"}:
        raise InputError(
            f"{name}={os.environ[name]} keeps oneDNN from multiplying in bfloat16, as mixed precision does: "
            f"unset {name}, or train without mixed precision"
        )
