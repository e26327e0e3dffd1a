"""Mixed precision auto follows a rule, and what it took stays with the run."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_runs import train_tiny

from catdcgan import describe_device, draw_cats
from catdcgan.cli import main
from catdcgan.run.precision import settle_precision
from catdcgan.settings import Settings
from catdcgan.tf1.device import multiplies_bfloat16, takes_bfloat16

HAS = "flags\t: fpu avx2 avx512f avx512_bf16\n"
LACKS = "flags\t: fpu avx2 avx512f\n"
SLOW = "this CPU has no instructions for bfloat16"


@pytest.mark.parametrize(
    ("features", "variables", "expected"),
    [
        (HAS, {}, True),
        ("flags\t: fpu amx_bf16 amx_tile\n", {}, True),
        (LACKS, {}, False),
        ("Features\t: fp asimd bf16\n", {}, False),  # an ARM CPU's
        (None, {}, False),  # not Linux
        (HAS, {"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        (HAS, {"TF_ENABLE_ONEDNN_OPTS": "false"}, False),
        (HAS, {"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
        (HAS, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, False),
        (HAS, {"DNNL_MAX_CPU_ISA": "avx512_core_vnni"}, False),
        (HAS, {"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, True),  # the first counts
        (HAS, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, True),
        (HAS, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, True),
    ],
)
def test_auto_takes_bfloat16_where_the_cpu_multiplies_it(
    features: str | None,
    variables: dict[str, str],
    expected: bool,
    cpu: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if features:
        cpu.write_text(features)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert multiplies_bfloat16() is expected
    assert takes_bfloat16("auto") is expected
    assert describe_device().endswith(f"auto multiplies in {'bfloat16' if expected else 'float32'}.")


@pytest.mark.parametrize(
    ("capability", "expected"), [((8, 0), True), ((12, 0), True), ((7, 5), False), (None, False)]
)
def test_auto_takes_bfloat16_on_gpus_from_compute_capability_8_on(
    capability: tuple[int, int] | None, expected: bool, cpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu.write_text(LACKS if expected else HAS)
    details = {"device_name": "Card", **({"compute_capability": capability} if capability else {})}
    monkeypatch.setattr("catdcgan.tf1.device.GPUS", [SimpleNamespace(name="GPU:0")])
    monkeypatch.setattr("catdcgan.tf1.device._details", lambda gpu: details)
    assert multiplies_bfloat16() is expected
    assert describe_device().startswith("GPU found: Card. ")


@pytest.mark.parametrize(
    ("asked", "features", "taken", "line", "warns"),
    [
        ("auto", HAS, True, "Multiplying in bfloat16 on this CPU\n", False),
        ("auto", LACKS, False, "Multiplying in float32 on this CPU\n", False),
        (True, HAS, True, "Multiplying in bfloat16 on this CPU\n", False),
        ("on", LACKS, True, "Multiplying in bfloat16 on this CPU\n", True),
        (True, None, True, "Multiplying in bfloat16 on this CPU\n", False),  # nobody knows whether it is slow
        ("off", HAS, False, "", False),
        (False, HAS, False, "", False),
    ],
)
@pytest.mark.usefixtures("bfloat16")
def test_the_screen_says_what_was_taken_and_warns_where_it_is_slow(
    asked: bool | str,
    features: str | None,
    taken: bool,
    line: str,
    warns: bool,
    cpu: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if features:
        cpu.write_text(features)
    with pytest.warns(UserWarning, match=SLOW) if warns else nullcontext():
        assert settle_precision(Settings(mixed_precision=asked), quiet=False).mixed_precision is taken
        assert capsys.readouterr().err == line
        assert settle_precision(Settings(mixed_precision=asked), quiet=True).mixed_precision is taken
        assert capsys.readouterr().err == ""


def test_an_unknown_precision_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mixed_precision is 'yes', not True, False"):
        train_tiny(draw_cats(4, 32), tmp_path / "run", mixed_precision="yes")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.filterwarnings(f"default:{SLOW}")
def test_a_resume_keeps_what_auto_took_and_notes_another_choice(
    cpu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu.write_text(HAS)
    tiny = ["--data=drawn", "--drawn-count=4", "--size=32", "--base-filters=2", "--z-dim=4", "--steps=1"]
    run = ["train", f"--out={tmp_path / 'run'}"]
    assert main([*run, *tiny, "--mixed-precision=auto"]) == 0
    assert "Multiplying in bfloat16" in capsys.readouterr().err
    cpu.write_text(LACKS)
    assert main([*run, "--resume", "--steps=2"]) == 0
    assert "catdcgan: warning: this CPU has no instructions for bfloat16" in capsys.readouterr().err
    assert main([*run, "--resume", "--mixed-precision=auto"]) == 0
    record: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["options"]["mixed_precision"] is False
    changes = [{}, {"step_count": [1, 2]}, {"mixed_precision": [True, False]}]
    assert [start["changed"] for start in record["starts"]] == changes
