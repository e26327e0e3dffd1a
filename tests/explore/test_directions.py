"""A knob must move its own property and no other, and belong to the generator that it is turned on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import build_generator, save_generator, save_lively_generator

from catdcgan import (
    InputError,
    direction_step,
    directions_picture,
    find_directions,
    find_numbered_directions,
    random_latents,
    read_directions,
    sample,
    save_directions,
    shift_latents,
)
from catdcgan.explore.directions import Directions, fingerprint
from catdcgan.explore.properties import PROPERTIES, SIDE, measure_properties
from catdcgan.run import checkpoint
from catdcgan.run.checkpoint import Architecture
from catdcgan.run.checkpoint_files import ENDINGS
from catdcgan.sampling import read_weights
from catdcgan.tf1 import tf

REPOSITORY = Path(__file__).parents[2]
BOX = REPOSITORY / "models" / "model.ckpt"
Z_DIM = 12
CATS = 12  # of the model in the box
OF_COLOUR = {name for name, kind in PROPERTIES.items() if kind.of_colour}


@pytest.fixture(scope="module", params=[3, 1], ids=["colour", "gray"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lively_generator(
        tmp_path_factory.mktemp("model") / "model.ckpt", Architecture(Z_DIM, 4, 32, request.param)
    )


@pytest.fixture(scope="module")
def found(model: Path) -> Directions:
    return find_directions(model, count=200)


# Properties


def face(brightness: float = 128) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), brightness, np.uint8)


def painted(place: Any, colour: tuple[int, int, int]) -> np.ndarray:
    image = face()
    image[place] = colour
    return image


RIGHT, LEFT = np.s_[20:110, 64:110], np.s_[20:110, 18:64]
STRIPES, WHITE_NOSE = np.s_[12:36, 48:80:4], np.s_[40:112, 48:80]
EYES = np.s_[46:57, [*range(31, 42), *range(87, 98)]]


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("coat", face(90), face(200)),
        ("colour", face(), painted(np.s_[:, :], (200, 120, 60))),
        ("stripes", face(), painted(STRIPES, (20, 20, 20))),
        ("light", painted(RIGHT, (220, 220, 220)), painted(LEFT, (220, 220, 220))),
        ("white-face", face(), painted(WHITE_NOSE, (255, 255, 255))),
        ("eyes", face(), painted(EYES, (120, 200, 80))),
        ("eye-colour", painted(EYES, (20, 20, 20)), painted(EYES, (220, 220, 220))),
        ("background", face(), painted(np.s_[:, :9], (255, 255, 255))),
    ],
)
def test_property_grows_from_what_its_less_says_to_what_its_more_says(
    name: str, less: np.ndarray, more: np.ndarray
) -> None:
    assert measure_properties(more)[name] > measure_properties(less)[name] + 0.02


@pytest.mark.parametrize("size", [32, 64, 256])
def test_property_is_the_same_at_every_size(size: int, cats: np.ndarray) -> None:
    small = cats[0].repeat(size // 32, 0).repeat(size // 32, 1)
    measured = measure_properties(small)
    expected = measure_properties(cats[0])
    assert list(measured) == list(PROPERTIES)
    assert list(measured.values()) == pytest.approx(list(expected.values()), abs=0.06)


def test_gray_pictures_have_all_properties_but_those_of_colour(cats: np.ndarray) -> None:
    gray = measure_properties(cats[0][:, :, :1])
    assert list(gray) == [name for name in PROPERTIES if name not in OF_COLOUR]
    as_colour = measure_properties(cats[0][:, :, :1].repeat(3, 2))
    assert gray == pytest.approx({name: as_colour[name] for name in gray}, abs=1e-5)


# Named directions


def test_directions_are_named_after_what_they_change(model: Path, found: Directions) -> None:
    gray = checkpoint.read_architecture(model).channels == 1
    assert list(found.names) == [name for name in PROPERTIES if not (gray and name in OF_COLOUR)]
    assert found.vectors.shape == (len(found.names), Z_DIM)
    assert found.limits.tolist() == [[PROPERTIES[name].low, PROPERTIES[name].high] for name in found.names]
    assert found.fingerprint == fingerprint(read_weights(model))


def test_one_unit_changes_a_property_by_one_deviation_and_the_others_not_where_it_all_is_linear(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    """The pictures are replaced by two pixels that depend linearly on the latents."""
    mixing = np.random.default_rng(0).standard_normal((Z_DIM, 2))

    def draw(path: Path, z: np.ndarray, *_: float) -> np.ndarray:
        return z @ mixing + 3

    module = "catdcgan.explore.directions"
    monkeypatch.setattr(f"{module}.sample_one_by_one", draw)
    monkeypatch.setattr(f"{module}.measure_properties", lambda pair: {"coat": pair[0], "light": pair[1]})
    linear = find_directions(model, count=100)
    spread = draw(model, random_latents(100, Z_DIM, 0)).std(0)
    assert np.allclose(linear.vectors @ mixing / spread, np.eye(2), atol=1e-4)
    assert linear.fit == pytest.approx([1, 1], abs=1e-5)


def test_fit_of_what_latents_do_not_decide_is_nothing(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    random = np.random.default_rng(1)
    module = "catdcgan.explore.directions"
    monkeypatch.setattr(f"{module}.measure_properties", lambda _: {"coat": random.standard_normal()})
    assert find_directions(model, count=200).fit[0] < 0.1


def test_latents_of_the_distribution_asked_for_are_measured_in_the_range_and_with_the_slope_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def draw(path: Path, z: np.ndarray, *how: float) -> np.ndarray:
        given.append((z, how))
        return sample(path, z, *how)

    monkeypatch.setattr("catdcgan.explore.directions.sample_one_by_one", draw)
    find_directions(model, 100, pixel_range=0.5, alpha=0.3, z_distribution="normal")
    ((z, how),) = given
    assert np.array_equal(z, random_latents(100, Z_DIM, 0, "normal"))
    assert how == (0.5, 0.3)


def test_too_few_pictures_or_such_that_do_not_differ_are_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=f"16 pictures are too few for latents of {Z_DIM} numbers: take 120"):
        find_directions(model, count=16)
    monkeypatch.setattr("catdcgan.explore.directions.COUNT", 16)
    find_directions(model)  # takes more by itself
    flat = np.full((100, 32, 32, 3), 9, np.uint8)
    monkeypatch.setattr("catdcgan.explore.directions.sample_one_by_one", lambda *_: flat)
    with pytest.raises(InputError, match=r"do not differ in coat, colour, stripes.*--unsupervised"):
        find_directions(model, count=100)


def test_latents_shorter_than_properties_are_many_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        build_generator(Architecture(2, 4, 32, 3))
        sess.run(tf.global_variables_initializer())
        path = save_generator(sess, tmp_path / "model.ckpt")
    noise = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    monkeypatch.setattr("catdcgan.explore.directions.sample_one_by_one", lambda *_: noise)
    with pytest.raises(InputError, match="2 latent numbers for 8 properties"):
        find_directions(path, count=50)


# Numbered directions


@pytest.mark.parametrize(("distribution", "unit"), [("uniform", 1 / np.sqrt(3)), ("normal", 1)])
def test_numbered_directions_are_those_to_which_the_first_layer_responds_most(
    distribution: str, unit: float, model: Path
) -> None:
    numbered = find_numbered_directions(model, distribution)
    kernel = read_weights(model)["generator/dense/kernel"].astype(float)
    _, values, axes = np.linalg.svd(kernel.T, full_matrices=False)
    assert numbered.names == tuple("12345678")
    assert np.allclose(np.abs((numbered.vectors / unit) @ axes.T), np.eye(8, Z_DIM), atol=1e-4)
    assert np.allclose(numbered.fit, (values**2 / (values**2).sum())[:8], atol=1e-5)


# Turning


def test_steps_add_up_and_are_taken_back_without_a_trace(found: Directions) -> None:
    both = direction_step(found, {"coat": 1.5, "light": -1})
    light = found.names.index("light")
    assert np.allclose(both, 1.5 * found.vectors[0] - found.vectors[light], atol=1e-6)
    assert np.allclose(both, direction_step(found, {"coat": 1.5}) + direction_step(found, {"light": -1}))
    z = random_latents(3, Z_DIM)
    assert np.array_equal(shift_latents(z, direction_step(found, {})), z)


@pytest.mark.parametrize("amounts", [{"coats": 1}, {"coat": 2.1}, {"coat": float("nan")}, {"stripes": -1.6}])
def test_wrong_names_and_amounts_are_refused_with_the_list_of_all(
    amounts: dict[str, float], found: Directions
) -> None:
    with pytest.raises(InputError, match="cannot set") as refused:
        direction_step(found, {"light": 1} | amounts)
    message = str(refused.value)
    assert message.startswith(f"cannot set {next(iter(amounts))}=")
    assert "coat (dark to light) -2 to 2" in message
    assert "stripes (plain to tabby) -1.5 to 2" in message


# Files


def test_directions_are_read_as_they_were_saved(found: Directions, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model.parent, tmp_path / "run" / "models")
    save_directions(found, tmp_path / "run" / "models" / "directions.npz")
    for stored in (
        read_directions(tmp_path / "run"),
        read_directions(model, tmp_path / "run" / "models" / "directions.npz"),
    ):
        assert (stored.names, stored.fingerprint) == (found.names, found.fingerprint)
        for name in ("vectors", "limits", "fit"):
            assert np.array_equal(getattr(stored, name), getattr(found, name))


def test_directions_of_another_generator_are_refused_with_the_command_that_makes_them(
    found: Directions, model: Path, tmp_path: Path
) -> None:
    other = save_lively_generator(tmp_path / "model.ckpt", Architecture(Z_DIM, 4, 32, 3), seed=1)
    command = f"run catdcgan directions --checkpoint {other}"
    with pytest.raises(InputError, match="has no directions yet") as absent:
        read_directions(other)
    save_directions(found, tmp_path / "directions.npz")
    with pytest.raises(InputError, match="directions of another model") as foreign:
        read_directions(other)
    assert str(absent.value).endswith(command)
    assert str(foreign.value).endswith(command)
    file = tmp_path / "directions.npz"
    with pytest.raises(InputError) as named:
        read_directions(other, file)
    assert str(named.value).endswith(f"{command} --out {file}")


@pytest.mark.parametrize("kind", ["cut", "text", "empty", "other", "pickled", "shapes"])
def test_damaged_file_of_directions_is_one_error(
    kind: str, found: Directions, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "directions.npz"
    save_directions(found, file)
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif kind in ("text", "empty"):
        file.write_text(kind * (kind == "text"))
    elif kind == "other":
        np.savez(file, names=np.array(found.names))
    elif kind == "pickled":
        objects: dict[str, Any] = {name: np.array([{}], object) for name in Directions._fields}
        np.savez(file, **objects)
    else:
        save_directions(found._replace(limits=found.limits[1:]), file)
    with pytest.raises(InputError, match="run catdcgan directions") as refused:
        read_directions(model, file)
    assert str(refused.value).startswith(str(file))


# The picture


def test_picture_has_a_row_for_each_direction_from_its_low_end_to_its_high_end(
    model: Path, found: Directions
) -> None:
    z, rows = random_latents(2, Z_DIM), len(found.names)
    picture = np.asarray(directions_picture(model, found, z))
    assert picture.shape == (32 * rows, 48 + 2 * 5 * 32 + 4, 3)
    channels = checkpoint.read_architecture(model).channels
    moved, cells = [], []
    for cat, left in enumerate((48, 48 + 5 * 32 + 4)):
        for row, (low, high) in enumerate(found.limits):
            for column, amount in enumerate([low, low / 2, 0, high / 2, high]):
                moved.append(shift_latents(z[cat], amount * found.vectors[row]))
                x, y = left + 32 * column, 32 * row
                cells.append(picture[y : y + 32, x : x + 32, :channels])
    assert np.abs(np.array(cells, int) - sample(model, np.array(moved))).max() <= 1


# The model in the box


@pytest.fixture(scope="module")
def turned() -> dict[str, np.ndarray]:
    """Properties (n, 8) of a few cats of the model in the box as they are, and with each knob turned by 1."""
    z = random_latents(CATS, 100, seed=5)
    box = read_directions(BOX)
    steps = {"": np.zeros(100), **{name: direction_step(box, {name: 1}) for name in box.names}}
    images = sample(BOX, np.concatenate([shift_latents(z, step) for step in steps.values()]))
    measured = np.array([list(measure_properties(image).values()) for image in images])
    deviation = measured[:CATS].std(0)
    return dict(zip(steps, (measured / deviation).reshape(len(steps), CATS, -1), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "name"), list(enumerate(PROPERTIES)))
def test_knob_of_the_model_in_the_box_moves_its_own_property_most(
    number: int, name: str, turned: dict[str, np.ndarray]
) -> None:
    effect = (turned[name] - turned[""]).mean(0)
    assert effect[number] > 0.4
    assert effect[number] > 1.2 * np.abs(np.delete(effect, number)).max()


def test_models_tracks_the_model_in_the_box_with_its_card_and_directions_alone() -> None:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "models"], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not in a git repository: {error}")
    names = ["models/README.md", "models/directions.npz", "models/encoder.npz"]
    names += [f"models/{name}.ckpt{ending}" for name in ("discriminator", "model") for ending in ENDINGS]
    assert sorted(listed.stdout.split()) == sorted(names)
