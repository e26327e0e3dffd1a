"""`make box` must read quality.py's figures rightly, and leave pictures alone that show the same."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from catdcgan import draw_cats, save_animation


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield


@pytest.fixture(scope="module")
def box(benchmarks: None) -> ModuleType:
    return importlib.import_module("box")


def test_figures_of_quality_stand_in_the_card_under_their_names(
    box: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = importlib.import_module("quality")
    monkeypatch.setattr(quality, "faces_found", lambda images: np.arange(len(images)) % 4 > 0)
    images = draw_cats(64, size=32)
    near = quality.find_neighbours(images, draw_cats(64, size=32, seed=1), 50)
    row = quality.measure(images, "0.56 (47, 54)") + quality.compare(near, [23, 38, 14, 23])
    head, *rows = box.figures(f"head\nphotos            {row}\n{box.MODEL} {row}\n")
    assert head == ["", "this model", "photos"]
    assert all(model == photos for _, model, photos in rows)
    card = {name: model for name, model, _ in rows}
    assert card["faces found"] == f"0.750 ± {np.sqrt(0.75 * 0.25 / 64):.3f}"
    assert card["variety, in gray levels"] == f"{quality.variety(images):.1f}"
    assert card["two most alike of 64 (photos: median of sets)"] == "0.56"
    assert card["mean red, green, blue"] == ", ".join(f"{level:.0f}" for level in images.mean((0, 1, 2)))
    assert card["distance to the nearest photo"] == f"{np.median(near.distance[:, 0]):.2f}"
    assert card["swd (details) at 128, 64, 32, 16 pixels"] == "23, 38, 14, 23"


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_picture_is_replaced_only_by_one_that_shows_something_else(
    suffix: str, box: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box, "ROOT", tmp_path)
    cats = draw_cats(3, size=32)
    rounded, other = cats.copy(), cats.copy()
    rounded[:, ::5, ::7] ^= 1
    other[-1] = cats[0]
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"

    def write(images: np.ndarray, path: Path) -> None:
        if suffix == ".png":
            Image.fromarray(images.reshape(-1, 32, 3)).save(path)
        else:
            save_animation(map(Image.fromarray, images), path)

    write(cats, new)
    box.put(new, old.name)
    first = old.read_bytes()
    assert first == new.read_bytes()
    write(rounded, new)
    box.put(new, old.name)
    assert old.read_bytes() == first
    for images in (other, cats[:2]):
        write(images, new)
        box.put(new, old.name)
        assert old.read_bytes() == new.read_bytes()


def test_table_takes_the_place_of_the_one_in_the_card(
    box: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "README.md"
    monkeypatch.setattr(box, "ROOT", tmp_path)
    monkeypatch.setattr(box, "CARD", card)
    card.write_text("before\n\n<!-- knobs -->\nold\n<!-- end of knobs -->\n\nafter\n")
    box.write_card("knobs", [["", "a"], ["b", "1"]])
    table = "| | a |\n|---|---|\n| b | 1 |"
    text = f"before\n\n<!-- knobs -->\n\n{table}\n\n<!-- end of knobs -->\n\nafter\n"
    assert card.read_text() == text
    with pytest.raises(SystemExit, match="lacks the lines"):
        box.write_card("figures", [["a"]])
    assert card.read_text() == text
