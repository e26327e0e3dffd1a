"""`make box` must leave pictures alone that show the same, and put its tables into the card."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from tiny_runs import read_checkpoint, same, train_tiny

from catdcgan import draw_cats, random_latents, sample, save_animation
from catdcgan.run.checkpoint_files import numbered
from catdcgan.run.start_from import discriminator_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield


@pytest.fixture(scope="module")
def box(benchmarks: None) -> ModuleType:
    return importlib.import_module("box")


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


def test_new_model_is_the_averaged_generator_and_the_discriminator_of_a_numbered_checkpoint(
    box: ModuleType, tmp_path: Path
) -> None:
    train_tiny(draw_cats(16, size=32), tmp_path, average_decay=0.5)
    trained = numbered(tmp_path / "models")[-1]
    box.put_networks(trained, tmp_path / "box")
    z = random_latents(2, 8)
    model = tmp_path / "box" / "model.ckpt"
    assert np.array_equal(sample(model, z), sample(trained, z))
    own = discriminator_of(model)
    assert own == tmp_path / "box" / "discriminator.ckpt"
    was = read_checkpoint(trained)
    names = [name for name in was if name.startswith("discriminator/") and "/Adam" not in name]
    assert same(read_checkpoint(own), {name: was[name] for name in names})


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
