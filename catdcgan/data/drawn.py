"""Painted cats: an endless, seeded supply of frontal cat faces, so that training needs no download.

A cat is painted in two steps: ``random_look`` chooses everything that varies (a ``CatLook``), then
``draw_look`` paints it, without any randomness. ``draw_cats`` makes a whole dataset.

Face units: one unit is the picture's side, the origin is the midpoint between the eyes, x runs right and
y runs down. As in the crop of the CAT dataset, that origin lies near 0.5 of the width and 0.4 of the height.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from catdcgan.screen import screen
from catdcgan.settings import IMAGE_MODES

Colour = tuple[int, int, int]
Pair = tuple[float, float]
Patch = tuple[Pair, float, Colour]
Points = NDArray[np.float64]  # shape (n, 2)

SMALLEST_SIZE = 16
CURVE_STEPS = np.linspace(0, 1, 9)
GLOW = np.clip(1 - np.hypot(*np.mgrid[-1:1:64j, -1:1:64j]), 0, 1) ** 1.5  # 1 in the centre, 0 outside
MOUTH = np.array([0.0, 0.275])
EYE_LINE = 0.4  # distance of the eyes' midpoint from the top, as a fraction of the picture's side
# Shapes are designed for the viewer's right half of the face; multiplying by LEFT mirrors them.
LEFT, RIGHT = np.array([-1.0, 1.0]), np.array([1.0, 1.0])


class Coat(NamedTuple):
    """Fur: `base` everywhere, `marking` for stripes, patches and masks, `pale` for muzzle and chest."""

    pattern: str
    base: Colour
    marking: Colour
    pale: Colour


WHITE, CREAM, ORANGE, BLACK = (240, 236, 230), (236, 214, 180), (222, 140, 64), (44, 41, 44)
BROWN, GRAY, BLUE_GRAY, SEAL = (150, 116, 84), (158, 156, 154), (112, 120, 134), (72, 52, 44)
COATS = (
    Coat("solid", BLACK, BLACK, (88, 84, 88)),
    Coat("solid", WHITE, WHITE, (252, 250, 248)),
    Coat("solid", BLUE_GRAY, BLUE_GRAY, (150, 156, 168)),
    Coat("solid", CREAM, CREAM, (250, 240, 224)),
    Coat("tabby", ORANGE, (168, 84, 30), (250, 226, 192)),
    Coat("tabby", (196, 196, 198), (92, 92, 98), (244, 243, 240)),
    Coat("tabby", BROWN, (70, 50, 38), (222, 200, 170)),
    Coat("tabby", GRAY, (72, 70, 72), (226, 224, 220)),
    Coat("tabby", CREAM, (204, 158, 108), (252, 244, 232)),
    Coat("tuxedo", BLACK, BLACK, (246, 244, 240)),
    Coat("tuxedo", BLUE_GRAY, BLUE_GRAY, (244, 243, 240)),
    Coat("tuxedo", ORANGE, ORANGE, (250, 244, 234)),
    Coat("calico", WHITE, BLACK, (250, 247, 242)),
    Coat("calico", WHITE, BROWN, (250, 247, 242)),
    Coat("pointed", (236, 222, 200), SEAL, (120, 94, 80)),
    Coat("pointed", (234, 230, 226), (116, 116, 128), (160, 160, 170)),
)
EYES = ((122, 176, 84), (214, 190, 70), (226, 160, 48), (196, 116, 40), (164, 178, 92), (96, 168, 150))
BLUE_EYES = (96, 160, 216)
NOSES = ((226, 142, 140), (196, 110, 98), (232, 164, 158))
DARK_NOSE, EAR_SKIN, PUPIL = (58, 46, 48), (222, 160, 150), (16, 14, 18)
BACKGROUNDS = (
    (120, 160, 190), (150, 180, 140), (200, 168, 140), (176, 150, 186), (214, 196, 150), (96, 120, 110),
    (200, 134, 124), (110, 110, 130), (206, 206, 200), (84, 96, 130), (140, 110, 90), (126, 186, 180),
)  # fmt: skip


@dataclass(frozen=True)
class CatLook:
    """Everything that varies between cats. Lengths are in face units, colours are RGB from 0 to 255."""

    coat: Coat
    eye_colour: Colour
    nose_colour: Colour
    ear_colours: tuple[Colour, Colour]  # left and right as seen by the viewer
    patches: tuple[Patch, ...]  # centre, radius, colour (calico)
    stripes: int  # on each cheek (tabby)
    blaze: float  # half width of the white stripe between the eyes (tuxedo)
    background: tuple[Colour, Colour]  # top, bottom
    light: float  # -1: lit from the left, 1: lit from the right
    tilt: float  # degrees, clockwise
    scale: float
    shift: Pair
    face_width: float  # half the width of the head
    fluff: float  # length of the tufts on the cheeks
    ear_height: float  # from the eyes' line up to the ear's tip
    ear_width: float
    ear_tilt: float  # how far the tip leans outwards
    eye_distance: float  # from the middle of the face to the centre of an eye
    eye_size: float  # half the width of an eye
    eye_openness: float  # height over width
    eye_slant: float  # degrees, outer corner up
    pupil: float  # width over height: 0.35 is a slit, 1 is round
    muzzle: float  # radius of one cheek of the muzzle
    whisker_length: float
    whisker_droop: float


def random_look(rng: np.random.Generator) -> CatLook:
    """Choose a cat's look at random. The same state of `rng` gives the same look."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def pick(colours: tuple[Colour, ...]) -> Colour:
        return colours[int(rng.integers(len(colours)))]

    coat = COATS[int(rng.integers(len(COATS)))]
    brightness, warmth = between(0.85, 1.06), between(-0.05, 0.05)
    tint = np.array([1 + warmth, 1, 1 - warmth]) * brightness
    coat = Coat(coat.pattern, *(_colour(np.array(c) * tint) for c in coat[1:]))

    ears = (coat.base, coat.base)
    patches: tuple[Patch, ...] = ()
    if coat.pattern == "pointed":
        ears = (coat.marking, coat.marking)
    elif coat.pattern == "calico":
        side = float(rng.choice([-1.0, 1.0]))
        dark, orange = coat.marking, _colour(np.array(ORANGE) * tint)
        patches = (
            ((side * between(0.2, 0.28), between(-0.18, -0.08)), between(0.19, 0.25), dark),
            ((-side * between(0.2, 0.28), between(-0.18, -0.08)), between(0.17, 0.25), orange),
        )
        ears = (dark, orange) if side < 0 else (orange, dark)

    dark_coat = sum(coat.base) < 450
    dark_nose = coat.pattern == "pointed" or (coat.pattern == "solid" and dark_coat)
    background = np.array(pick(BACKGROUNDS)) * between(0.7, 1.0)
    return CatLook(
        coat=coat,
        eye_colour=BLUE_EYES if coat.pattern == "pointed" or rng.random() < 0.08 else pick(EYES),
        nose_colour=DARK_NOSE if dark_nose else pick(NOSES),
        ear_colours=ears,
        patches=patches,
        stripes=int(rng.integers(2, 4)),
        blaze=between(0.015, 0.06),
        background=(_colour(background * between(1.0, 1.2)), _colour(background * between(0.6, 1.0))),
        light=between(-1, 1),
        tilt=float(np.clip(rng.normal(0, 5), -12, 12)),
        scale=between(0.95, 1.04),
        shift=(between(-0.02, 0.02), between(-0.015, 0.03)),
        face_width=between(0.43, 0.48),
        fluff=between(0.0, 0.07),
        ear_height=between(0.36, 0.43),
        ear_width=between(0.26, 0.31),
        ear_tilt=between(-0.05, 0.03),
        eye_distance=between(0.18, 0.205),
        eye_size=between(0.085, 0.108),
        eye_openness=between(0.68, 0.95),
        eye_slant=between(4, 18),
        pupil=between(0.35, 0.95),
        muzzle=between(0.1, 0.125),
        whisker_length=between(0.26, 0.38),
        whisker_droop=between(-0.05, 0.1),
    )


def landmarks(look: CatLook, size: int = 128) -> list[Pair]:
    """Nine landmarks (x, y), in pixels of a picture of `size` pixels, in the order of the CAT dataset.

    Left eye, right eye, mouth, left ear base, tip and inner, right ear inner, tip and base; left is the
    viewer's left. An ear's tip may lie outside the picture.
    """
    base, tip, inner = _ear(look)
    eye = np.array([look.eye_distance, 0.0])
    points = [eye * LEFT, eye, MOUTH, base * LEFT, tip * LEFT, inner * LEFT, inner, tip, base]
    return [(float(x), float(y)) for x, y in _to_pixels(look, np.array(points), size)]


def draw_look(look: CatLook, size: int = 128) -> Image.Image:
    """Paint a cat as an RGB picture of `size` x `size` pixels. ValueError if `size` is under 16."""
    if size < SMALLEST_SIZE:
        raise ValueError(f"a cat needs a size of at least {SMALLEST_SIZE} pixels, got {size}")
    factor = 3 if size <= 128 else 2  # painted larger and then reduced: smooth edges
    side = factor * size
    top_and_bottom = Image.new("RGB", (1, 2), look.background[0])
    top_and_bottom.putpixel((0, 1), look.background[1])
    picture = top_and_bottom.resize((side, side), Image.Resampling.BILINEAR)
    _paint_body(picture, look)
    _paint_ears(picture, look)
    _paint_head(picture, look)
    _paint_eyes(picture, look)
    _paint_nose_and_whiskers(picture, look)
    return picture.reduce(factor)


def draw_cat(rng: np.random.Generator, size: int = 128) -> Image.Image:
    """Choose a cat with `rng` and paint it: RGB, `size` x `size` pixels. ValueError if `size` is under 16."""
    return draw_look(random_look(rng), size)


def draw_cats(
    count: int, size: int = 128, seed: int = 0, mode: str = "RGB", progress: bool = False
) -> NDArray[np.uint8]:
    """Paint a dataset: uint8 (count, size, size, channels), 3 channels for "RGB" and 1 for "L".

    Cat i depends on `seed` and i alone, so a smaller dataset is the start of a larger one. `progress` shows a
    bar.

    Raises:
        ValueError: `count` is under 1, `size` is under 16, `seed` is negative, or `mode` is unknown.
        MemoryError: memory cannot hold them.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if mode not in IMAGE_MODES:
        raise ValueError(f"mode must be one of {', '.join(IMAGE_MODES)}, got {mode!r}")
    cats = np.empty((count, size, size, IMAGE_MODES[mode]), np.uint8)  # fails now if memory cannot hold them
    for i in tqdm(range(count), desc="painting cats", disable=not progress, file=screen()):
        cat = draw_cat(np.random.default_rng((seed, i)), size).convert(mode)
        cats[i] = np.asarray(cat).reshape(cats.shape[1:])
    return cats


# The parts of a cat, from back to front.


def _paint_body(picture: Image.Image, look: CatLook) -> None:
    coat = look.coat
    _fill(picture, look, _ellipse((0, 0.76), (0.44, 0.42)), _mix(coat.base, BLACK, 0.22))
    if coat.pattern in ("tuxedo", "tabby"):
        _fill(picture, look, _ellipse((0, 0.7), (0.2, 0.3)), _mix(coat.pale, coat.base, 0.3))
    _glow(picture, look, (0, 0.44), (0.5, 0.24), BLACK, 0.55)  # the head's shadow


def _paint_ears(picture: Image.Image, look: CatLook) -> None:
    base, tip, inner = _ear(look)
    sides = _curve(base, tip, bow=(0.035, -0.03)), _curve(tip, inner, bow=(-0.015, -0.04))
    triangle, middle = np.concatenate(sides), (base + inner) / 2
    root = np.array([[0.1, 0.1], [0.3, 0.15]])  # hidden behind the head, so that there is no gap
    for side, colour in zip((LEFT, RIGHT), look.ear_colours, strict=True):
        _fill(picture, look, np.concatenate([triangle, root]) * side, colour)
        hollow = middle + [-0.004, 0.02] + 0.7 * (triangle - middle)
        _fill(picture, look, hollow * side, _mix(EAR_SKIN, colour, 0.45))
        for x in (0.08, 0.045, 0.01):  # tufts that grow over the hollow
            tuft = _stroke(middle - [x, -0.06], middle - [x - 0.05, 0.08], bow=(-0.02, 0), width=0.035)
            _fill(picture, look, tuft * side, colour)


def _paint_head(picture: Image.Image, look: CatLook) -> None:
    """Paint the fur on a separate canvas, then cut it out along the outline of the head."""
    coat = look.coat
    fur = Image.new("RGB", picture.size, coat.base)
    for centre, radius, colour in look.patches:
        _fill(fur, look, _ellipse(centre, (radius, 1.3 * radius), wobble=0.12), colour)
    if coat.pattern == "tabby":
        _paint_stripes(fur, look)
    elif coat.pattern == "pointed":
        _glow(fur, look, (0, 0.14), (0.36, 0.4), coat.marking, 1.0)
        _glow(fur, look, (0, 0.2), (0.25, 0.3), coat.marking, 0.8)
    elif coat.pattern == "tuxedo":
        blaze = np.array([[0, -0.3 + look.blaze], [look.blaze, -0.05], [look.blaze + 0.03, 0.12], [0.2, 0.3]])
        _fill(fur, look, np.concatenate([blaze, (blaze * LEFT)[::-1]]), coat.pale)
        _fill(fur, look, _ellipse((0, 0.38), (0.27, 0.19)), coat.pale)
    _glow(fur, look, (0.3 * look.light, -0.05), (0.45, 0.45), WHITE, 0.22)
    _glow(fur, look, (-0.5 * look.light, 0.25), (0.4, 0.6), BLACK, 0.35)
    _glow(fur, look, (0, 0.5), (0.4, 0.14), BLACK, 0.35)  # under the chin

    cut = Image.new("L", picture.size, 0)
    head = _ellipse((0, 0.1), (look.face_width, 0.365), count=64)
    head[:, 0] *= 0.985 + 0.16 * head[:, 1]  # wider at the cheeks than at the brow
    _fill(cut, look, head, 255)
    for y, reach in ((0.14, 0.6), (0.21, 1.0), (0.28, 0.7)):  # tufts on the cheeks
        end = (look.face_width + look.fluff * reach, y + 0.05)
        _fill_both(cut, look, _stroke((0.25, y), end, bow=(0.04, 0.04), width=0.14), 255)
    picture.paste(fur, mask=cut)


def _paint_stripes(fur: Image.Image, look: CatLook) -> None:
    """A tabby's fur: an M on the forehead, lines on the cheeks, pale around the eyes and the mouth."""
    for side in (-1, 1):
        _glow(fur, look, (side * look.eye_distance, 0.01), (0.2, 0.17), look.coat.pale, 0.75)
    _glow(fur, look, (0, 0.36), (0.3, 0.2), look.coat.pale, 1.0)
    mask = Image.new("L", fur.size, 0)
    for x, top, bottom in ((0.035, -0.3, -0.1), (0.105, -0.28, -0.12), (0.2, -0.26, -0.13)):
        _fill_both(mask, look, _stroke((1.25 * x, top), (x, bottom), bow=(0.015, 0), width=0.05), 255)
    for i in range(look.stripes):
        stripe = _stroke((0.3, 0.02 + 0.09 * i), (0.52, 0.11 * i), bow=(0, 0.04), width=0.05)
        _fill_both(mask, look, stripe, 255)
    fur.paste(look.coat.marking, mask=mask.filter(ImageFilter.BoxBlur(fur.width / 128)))


def _paint_eyes(picture: Image.Image, look: CatLook) -> None:
    width, height = look.eye_size, look.eye_size * look.eye_openness
    eye = _ellipse((0, 0), (width, height))
    eye[:, 1] *= 1 - 0.25 * (eye[:, 0] / width) ** 2  # a little pointed at the corners
    turn, centre = _turn(-look.eye_slant), np.array([look.eye_distance, 0])
    _fill_both(picture, look, centre + 1.2 * eye @ turn, _mix(look.coat.marking, BLACK, 0.75))
    _fill_both(picture, look, centre + eye @ turn, _mix(look.eye_colour, BLACK, 0.3))  # the lid's shadow
    _fill_both(picture, look, centre + (0.86 * eye + [0, 0.1 * height]) @ turn, look.eye_colour)
    _fill_both(picture, look, centre + _ellipse((0, 0), (0.8 * height * look.pupil, 0.88 * height)), PUPIL)
    for side in (LEFT, RIGHT):  # the glint is not mirrored: both eyes reflect the same window
        glint = np.array([0.3 * look.light * width, -0.5 * height])
        _fill(picture, look, centre * side + glint + _ellipse((0, 0), (0.018, 0.018)), (255, 255, 255))


def _paint_nose_and_whiskers(picture: Image.Image, look: CatLook) -> None:
    coat, radius = look.coat, look.muzzle
    share = {"solid": 0.6, "pointed": 0.4}.get(coat.pattern, 1.0)
    muzzle = _mix(coat.marking if coat.pattern == "pointed" else coat.base, coat.pale, share)
    line = _mix(look.nose_colour, BLACK, 0.7)
    _fill(picture, look, _ellipse((0, 0.34), (0.085, 0.085)), _mix(muzzle, BLACK, 0.08))  # chin
    _fill_both(picture, look, _ellipse((0.8 * radius, 0.26), (radius, 0.78 * radius)), muzzle)
    _fill(picture, look, _ellipse((0, 0.235), (0.008, 0.045)), line)
    nose = np.array([[0, 0.152], [0.04, 0.145], [0.062, 0.16], [0.05, 0.19], [0.015, 0.218], [0, 0.22]])
    _fill(picture, look, np.concatenate([nose, (nose * LEFT)[::-1]]), look.nose_colour)
    _fill_both(picture, look, _stroke(MOUTH, (0.11, 0.285), bow=(-0.005, 0.055), width=0.022), line)
    whiskers = (252, 252, 250) if sum(muzzle) < 640 else (134, 124, 120)  # white would be invisible on white
    for i in range(3):
        x, y = 0.1 + 0.02 * i, 0.225 + 0.035 * i
        end = (x + look.whisker_length, y + look.whisker_droop + 0.07 * (i - 1))
        _fill_both(picture, look, _stroke((x, y), end, bow=(0, -0.035), width=0.014), whiskers)


# Geometry, in face units, and brushes.


def _ear(look: CatLook) -> tuple[Points, Points, Points]:
    """Base, tip and inner point of the right ear, each of shape (2,)."""
    base = np.array([look.face_width - 0.01, -0.04])
    tip = np.array([base[0] - 0.06 + look.ear_tilt, -look.ear_height])
    return base, tip, np.array([base[0] - look.ear_width, -0.25])


def _ellipse(centre: Pair, radii: Pair, count: int = 32, wobble: float = 0.0) -> Points:
    """Outline of shape (count, 2); it swells in three places, by the fraction `wobble` of the radii."""
    angle = np.arange(count) * (2 * np.pi / count)
    swell = 1 + wobble * np.sin(3 * angle)
    return np.stack([np.cos(angle) * swell, np.sin(angle) * swell], axis=1) * radii + centre


def _curve(start: Pair | Points, end: Pair | Points, bow: Pair) -> Points:
    """Nine points of an arc from start to end, its middle pushed out by half of `bow`, shape (9, 2)."""
    t = CURVE_STEPS[:, None]
    arc: Points = (1 - t) * np.asarray(start) + t * np.asarray(end) + 2 * t * (1 - t) * np.asarray(bow)
    return arc


def _stroke(start: Pair | Points, end: Pair | Points, bow: Pair, width: float) -> Points:
    """Outline of a bowed stroke, `width` wide in its middle and pointed at both ends, shape (18, 2)."""
    middle = _curve(start, end, bow)
    x, y = middle[-1] - middle[0]
    half = np.sin(np.pi * CURVE_STEPS)[:, None] * np.array([-y, x]) * (width / 2 / math.hypot(x, y))
    return np.concatenate([middle + half, (middle - half)[::-1]])


def _turn(degrees: float) -> Points:
    """The matrix that turns points of shape (n, 2) clockwise: ``points @ matrix``."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin], [-sin, cos]])


def _to_pixels(look: CatLook, points: Points, side: int) -> Points:
    """Tilt, scale and shift points of shape (n, 2) into a picture that is `side` pixels wide."""
    shift = (look.shift[0] + 0.5, look.shift[1] + EYE_LINE)
    pixels: Points = (points @ _turn(look.tilt) * look.scale + shift) * side
    return pixels


def _fill(picture: Image.Image, look: CatLook, outline: Points, colour: Colour | int) -> None:
    pixels = _to_pixels(look, outline, picture.width)
    ImageDraw.Draw(picture).polygon(pixels.ravel().tolist(), fill=colour)


def _fill_both(picture: Image.Image, look: CatLook, outline: Points, colour: Colour | int) -> None:
    """Fill the outline on the right half and its mirror image on the left."""
    _fill(picture, look, outline, colour)
    _fill(picture, look, outline * LEFT, colour)


def _glow(
    picture: Image.Image, look: CatLook, centre: Pair, radii: Pair, colour: Colour, strength: float
) -> None:
    """Blend in `colour` softly: with `strength` (0 to 1) at the centre, fading to 0 at the radii."""
    x, y = _to_pixels(look, np.array([centre]), picture.width)[0]
    width, height = (int(2 * radius * picture.width * look.scale) for radius in radii)
    spot = Image.fromarray((255 * strength * GLOW).astype(np.uint8))
    mask = spot.resize((width, height), Image.Resampling.BILINEAR)
    picture.paste(colour, (int(x) - width // 2, int(y) - height // 2), mask)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with a `share` (0 to 1) of `other`."""
    return _colour((1 - share) * np.array(one) + share * np.array(other))


def _colour(values: Points) -> Colour:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue
