"""Put a model into the box, models/, and make everything that comes from it.

    make box                                      # pictures, knobs, encoder; the card's table of knobs
    make box CHECKPOINT=runs/001/models/model.ckpt-22000 FROM=runs/001 FACES=data/cats

CHECKPOINT is a new model, both its networks, as training numbers it. FROM is the folder of the run that
trained it, for the training strip, and FACES one of photos, for the card's figures. A picture stays as it is
where the new one looks the same: another CPU rounds a few pixels to the next gray level.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageSequence

from catdcgan import discriminator, draw_cats, generator
from catdcgan.cli import main as catdcgan
from catdcgan.evaluate.figures import table
from catdcgan.explore.directions import read_directions
from catdcgan.explore.lookalike import encoder_of
from catdcgan.explore.properties import PROPERTIES
from catdcgan.files import atomic_write
from catdcgan.run.checkpoint import read_architecture, restore, save
from catdcgan.run.checkpoint_files import NAME
from catdcgan.run.start_from import DISCRIMINATOR
from catdcgan.tf1 import tf

ROOT = Path(__file__).parents[1]
MODEL = "models/model.ckpt"
NETWORKS = {"generator": NAME, "discriminator": DISCRIMINATOR}
CARD = ROOT / "models" / "README.md"
SAME = 5  # mean difference in gray levels: WebP turns a few of 1 into 2; other cats differ by tens
DOUBLES = 4  # painted cats whose doubles are shown; photos must not be

COMMANDS = {
    "images/cats.png": "sample --count 36",
    "images/walk.webp": "sample --walk 13 2 23 31",
}


def put_networks(checkpoint: Path, folder: Path) -> None:
    """Take both networks from a numbered checkpoint, the generator averaged if it has averages."""
    made = read_architecture(checkpoint)
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as sess:
        z = tf.placeholder(tf.float32, (None, made.z_dim))
        width = made.base_filters
        fake = generator(z, made.channels, base_filters=width, image_size=made.image_size)
        discriminator(fake, base_filters=width)
        for scope, name in NETWORKS.items():
            variables = tf.global_variables(scope)
            restore(sess, checkpoint, variables, averages=True)
            save(sess, tf.train.Saver(variables), folder / name)


def looks_same(new: Path, old: Path) -> bool:
    """Whether two pictures or animations show the same, or two files of directions hold the same."""
    if not old.exists():
        return False
    if new.suffix == ".npz":
        one, other = (read_directions(ROOT / MODEL, new).vectors, np.load(old)["vectors"])
        return one.shape == other.shape and np.allclose(one, other, atol=0.01)
    with Image.open(new) as first, Image.open(old) as second:
        frames = [
            [np.asarray(frame.convert("RGB"), np.int16) for frame in ImageSequence.Iterator(each)]
            for each in (first, second)
        ]
    if [frame.shape for frame in frames[0]] != [frame.shape for frame in frames[1]]:
        return False
    return all(np.abs(a - b).mean() < SAME for a, b in zip(*frames, strict=True))


def put(new: Path, name: str) -> None:
    """Put a new file in its place in the repository, unless the old one shows the same."""
    old = ROOT / name
    if looks_same(new, old):
        print(f"{name}: as before")
        return
    with atomic_write(old) as partial:
        partial.write_bytes(new.read_bytes())
    print(f"{name}: new")


def write_card(part: str, table: list[list[str]]) -> None:
    """Put a table into the card, between the lines <!-- part --> and <!-- end of part -->."""
    head, *rows = table
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in (head, *rows)]
    lines.insert(1, "|" + "---|" * len(head))
    marks = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, _, rest = CARD.read_text("utf-8").partition(marks[0])
    _, found, after = rest.partition(marks[1])
    if not found:
        raise SystemExit(f"{CARD} lacks the lines {' and '.join(marks)}")
    text = before + "\n".join([marks[0], "", *lines, "", marks[1]]) + after
    with atomic_write(CARD) as partial:
        partial.write_text(text, "utf-8")
    print(f"{CARD.relative_to(ROOT)}: {part}")


def knobs() -> list[list[str]]:
    """The card's table of directions."""
    found = read_directions(ROOT / MODEL)
    rows = zip(found.names, found.limits.tolist(), found.fit.tolist(), strict=True)
    table = [["knob", "from", "to", "limits", "R2"]]
    for name, (low, high), fit in rows:
        table.append(
            [name, PROPERTIES[name].less, PROPERTIES[name].more, f"{low:g} to {high:g}", f"{fit:.2f}"]
        )
    return table


def run(*words: str) -> None:
    """Run a command of the program with the model in the box; end here if it fails."""
    if catdcgan([*words, "--checkpoint", str(ROOT / MODEL)]):
        raise SystemExit(1)


def main() -> None:
    """Make the pictures, the directions and the tables of the card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="a run's numbered checkpoint, the new model")
    parser.add_argument("--run", type=Path, help="folder of the run that trained the model")
    parser.add_argument("--faces", type=Path, help="folder of photos to compare with")
    options = parser.parse_args()
    if options.checkpoint:
        put_networks(options.checkpoint, ROOT / "models")
    with TemporaryDirectory() as folder:
        for name, command in COMMANDS.items():
            new = Path(folder, Path(name).name)
            run(*command.split(), "--out", str(new))
            put(new, name)
        new, picture = Path(folder, "directions.npz"), Path(folder, "directions.jpg")
        run("directions", "--out", str(new), "--picture", str(picture))
        put(new, "models/directions.npz")
        put(picture, "images/directions.jpg")
        encoder_of(ROOT / MODEL)  # is made again for another model, and kept beside it
        painted = [Path(folder, f"{number}.png") for number in range(DOUBLES)]
        for file, cat in zip(painted, draw_cats(DOUBLES, size=128), strict=True):
            Image.fromarray(cat).save(file)
        new = Path(folder, "doubles.jpg")
        run("lookalike", *map(str, painted), "--out", str(new))
        put(new, "images/doubles.jpg")
    write_card("knobs", knobs())
    if options.run:
        put(options.run / "images" / "training.png", "images/training.png")
    if options.faces:
        sheets = ROOT / "runs" / "box"  # one holds photos, so both stay outside the repository
        sheet, near = sheets / "sheet.png", sheets / "near.png"
        figures, faces = sheets / "figures.json", str(options.faces.absolute())
        run(
            *("evaluate", "--data", faces, "--json", str(figures)),
            *("--sheet", str(sheet), "--neighbours", str(near)),
        )
        measured = json.loads(figures.read_text("utf-8"))
        model, photos = measured["figures"].values()
        write_card("figures", table({"this model": model, "photos": photos}, measured["size"]))
        print(f"Look at {sheet} and {near}")


if __name__ == "__main__":
    main()
