"""How fast the page of the included model generates cats in Chromium, and how far they are from `sample`.

    .venv/bin/pip install -c constraints.txt -e '.[page-test]'
    .venv/bin/python benchmarks/page.py

The page with WebAssembly, the page without and TensorFlow take turns, one picture at a time. The page uses
one thread, TensorFlow all.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from catdcgan import export_page, random_latents, read_directions, sample
from catdcgan.sampling import open_generator

MODEL = Path(__file__).parents[1] / "models" / "model.ckpt"
ROUNDS, CATS = 6, 64
BUSY = "Boolean(working || wishes.size)"
# Generates cats by number, as a control of the page does; see wish() in page.js.
GENERATE = """async numbers => {
  const made = [];
  for (const n of numbers) made.push(await new Promise(done => wish('cat', numbered(n), ({pixels, time}) =>
    done({time, url: paint(document.createElement('canvas'), pixels).toDataURL()}))));
  return made;
}"""


def open_page(browser: Any, file: Path) -> Any:
    """Open a page, and wait until it has drawn what it draws at first."""
    page = browser.new_page()
    page.goto(file.as_uri())
    time.sleep(2)
    while page.evaluate(BUSY):
        time.sleep(0.1)
    return page


def picture(url: str) -> np.ndarray:
    """The picture in a data URL: uint8 (s, s, 3)."""
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def main() -> None:
    """Measure, and print a table."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("This needs chromium, or Chrome.")
    z = random_latents(CATS, 100)
    times: dict[str, list[float]] = {"WebAssembly": [], "JavaScript": [], "TensorFlow": []}
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        fast, slow = Path(folder, "fast.html"), Path(folder, "slow.html")
        export_page(MODEL, fast, read_directions(MODEL))
        # A browser that cannot run the kernel takes the loop in JavaScript.
        slow.write_text(re.sub('(?<=id="kernel">)[^<]+', "AAAA", fast.read_text("utf-8")), "utf-8")
        print(f"{fast.stat().st_size / 1e6:.1f} MB")
        browser = playwright.chromium.launch(executable_path=program)
        pages = {"WebAssembly": open_page(browser, fast), "JavaScript": open_page(browser, slow)}
        with open_generator(MODEL) as (sess, input_z, images):
            sess.run(images, {input_z: z[:1]})
            for _ in range(ROUNDS):
                for engine, count in (("WebAssembly", 8), ("JavaScript", 2)):
                    made = pages[engine].evaluate(GENERATE, list(range(count)))
                    times[engine] += [one["time"] for one in made]
                for latent in z[:8]:
                    start = time.perf_counter()
                    sess.run(images, {input_z: latent[None]})
                    times["TensorFlow"].append(1000 * (time.perf_counter() - start))
        made = pages["WebAssembly"].evaluate(GENERATE, list(range(CATS)))
        browser.close()
    for engine, taken in times.items():
        print(f"{engine:12} {statistics.median(taken):5.0f} ms a picture (median of {len(taken)})")
    off = np.abs(np.stack([picture(one["url"]) for one in made]).astype(int) - sample(MODEL, z))
    print(f"{CATS} cats: at most {off.max()} gray levels off; {(off > 0).mean():.2%} of the values are off")


if __name__ == "__main__":
    main()
