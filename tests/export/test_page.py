"""The page must make the pictures of `sample` in a real browser, and its controls must do what they say."""

from __future__ import annotations

import base64
import importlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wasmtime
from PIL import Image
from tiny_runs import save_lively_generator

from catdcgan import (
    InputError,
    export_page,
    find_numbered_directions,
    interpolate,
    random_latents,
    sample,
    save_directions,
    shift_latents,
)
from catdcgan.cli import main
from catdcgan.explore.directions import Directions
from catdcgan.run.checkpoint import Architecture

PAGE = Path(__file__).parents[2] / "catdcgan" / "export" / "page"
BOX = Path(__file__).parents[2] / "models" / "model.ckpt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
Z_DIM = 10
LEVELS = 2  # gray levels that a picture may be off: the weights are half floats
CATS = random_latents(1000, Z_DIM)

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    try:
        api = importlib.import_module("playwright.sync_api")
    except ImportError:
        skip("Playwright is not installed: pip install -c constraints.txt -e '.[page-test]'")
    with api.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def launch(playwright: Any) -> Iterator[Callable[..., Any]]:
    """Start a browser with further arguments of its command line."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        skip(f"none of the browsers {', '.join(BROWSERS)} is installed")
    started = []

    def launch(*arguments: str) -> Any:
        started.append(playwright.chromium.launch(executable_path=program, args=arguments))
        return started[-1]

    yield launch
    for browser in started:
        browser.close()


def skip(reason: str) -> None:
    """Skip a test that needs a browser; where CI has set CATDCGAN_BROWSER, that is a failure."""
    (pytest.fail if os.environ.get("CATDCGAN_BROWSER") == "required" else pytest.skip)(reason)


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Any]) -> Any:
    return launch()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lively_generator(
        tmp_path_factory.mktemp("model") / "model.ckpt", Architecture(Z_DIM, 3, 32, 3)
    )


@pytest.fixture(scope="module")
def knobs(model: Path) -> Directions:
    return find_numbered_directions(model)


@pytest.fixture(scope="module")
def html(model: Path, knobs: Directions) -> Path:
    """A page with knobs."""
    file = model.parent / "cats.html"
    export_page(model, file, knobs)
    return file


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open a page from its file, and see to it that it says nothing on the console and fetches nothing."""
    contexts, said, fetched = [], [], []

    def open_page(file: Path, link: str = "", browser: Any = browser, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(f"{file.as_uri()}{link}")
        quiet(page)
        assert not [url for url in fetched if not url.startswith((file.as_uri(), "blob:", "data:image/svg"))]
        fetched.clear()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert fetched == []


def quiet(page: Any) -> None:
    """Wait until all pictures are there."""
    page.evaluate(
        "async () => { while (working || wishes.size) await new Promise(done => setTimeout(done, 10)); }"
    )


def pixels(page: Any, selector: str = "#cat") -> np.ndarray:
    """The pictures in canvases, uint8 (n, s, s, 3), once all are there."""
    quiet(page)
    drawn = page.eval_on_selector_all(selector, "all => all.map(canvas => canvas.toDataURL())")
    files = [io.BytesIO(base64.b64decode(url.partition(",")[2])) for url in drawn]
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])


def differ(images: np.ndarray, expected: np.ndarray) -> int:
    """By how many gray levels images differ at most."""
    return int(np.abs(images.astype(int) - expected).max())


def slide(page: Any, selector: str, value: float) -> None:
    """Move a slider as a hand does."""
    page.eval_on_selector(
        selector,
        "(slider, value) => { slider.value = value;"
        " for (const name of ['input', 'change']) slider.dispatchEvent(new Event(name)); }",
        value,
    )


def link_of(page: Any) -> str:
    """The link, once the page has rested."""
    page.wait_for_timeout(600)
    quiet(page)
    return str(page.evaluate("location.hash"))


def paste(page: Any, text: str) -> None:
    """Paste text into the page."""
    page.evaluate(
        "text => { const clipboardData = new DataTransfer(); clipboardData.setData('text/plain', text);"
        "  document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true})); }",
        text,
    )


# The pictures


@pytest.mark.parametrize(
    ("made", "how"),
    [
        (Architecture(Z_DIM, 1, 48, 3), {}),
        (Architecture(9, 3, 32, 1), {"alpha": 0.3, "pixel_range": 0.5}),
        (Architecture(100, 16, 128, 1), {}),
        (Architecture(100, 32, 32, 3), {"z_distribution": "normal"}),
    ],
    ids=["width 1", "width 3", "width 16", "width 32"],
)
def test_sixteen_cats_are_those_of_sample(
    made: Architecture, how: dict[str, Any], open_page: Open, tmp_path: Path
) -> None:
    checkpoint = save_lively_generator(tmp_path / "model.ckpt", made)
    export_page(checkpoint, tmp_path / "cats.html", **how)
    page = open_page(tmp_path / "cats.html")
    z = random_latents(16, made.z_dim, distribution=how.pop("z_distribution", "uniform"))
    expected = sample(checkpoint, z, **how)
    assert expected.std() > 10
    assert differ(pixels(page, "#sheet canvas"), expected) <= LEVELS
    assert "in WebAssembly" in page.inner_text("#speed")
    assert page.locator("#knobs input").count() == 0
    before = pixels(page)
    page.click("#new")
    assert pixels(page).std() > 10
    assert not np.array_equal(pixels(page), before)


def test_without_webassembly_the_cats_are_the_same(
    launch: Callable[..., Any], open_page: Open, model: Path, html: Path
) -> None:
    page = open_page(html, browser=launch("--js-flags=--jitless"))  # which has no WebAssembly
    assert "in JavaScript" in page.inner_text("#speed")
    assert differ(pixels(page, "#sheet canvas"), sample(model, CATS[:16])) <= LEVELS


def test_page_of_the_model_in_the_box_is_below_25_mb(
    open_page: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cats.html"
    assert main(["export", "--to=page", f"--checkpoint={BOX}", f"--out={file}"]) == 0
    assert "with 8 knobs" in capsys.readouterr().out
    assert file.stat().st_size < 25e6
    page = open_page(file)
    assert differ(pixels(page, "#sheet canvas"), sample(BOX, random_latents(16, 100))) <= LEVELS
    labels = page.eval_on_selector_all("#knobs input", "all => all.map(slider => slider.ariaLabel)")
    assert labels[4:7] == ["White face", "Eyes", "Eye colour"]
    assert page.inner_text(".knob:first-child").split() == ["dark", "Coat", "light"]
    shapes = page.eval_on_selector_all("#layers b", "all => all.map(shape => shape.textContent)")
    assert shapes[0] == "100 numbers"
    assert shapes[1] == "8 × 8 × 512"
    assert shapes[-1] == "128 × 128 × 3"
    assert page.evaluate("[...document.querySelectorAll('#layers canvas')].map(c => c.width)")[:2] == [10, 8]


# The controls


def test_number_and_sheet_choose_cats_of_seed_0(open_page: Open, model: Path, html: Path) -> None:
    page = open_page(html)
    page.fill("#number", "17")
    assert differ(pixels(page)[0], sample(model, CATS[17:18])[0]) <= LEVELS
    page.click("#next")
    pressed = page.locator("#sheet [aria-pressed=true]")
    assert pressed.get_attribute("title") == "Cat number 17"
    page.click("#sheet button >> nth=3")
    assert page.input_value("#number") == "19"
    assert np.array_equal(pixels(page)[0], pixels(page, "#sheet canvas")[3])
    page.click("#back")
    page.click("#back")
    assert differ(pixels(page, "#sheet canvas"), sample(model, CATS[984:])) <= LEVELS


def test_number_box_shows_the_cat_that_is_shown_or_nothing(open_page: Open, html: Path) -> None:
    page = open_page(html)
    assert page.get_attribute("#number", "title") == "0 to 999"
    for typed, number in (("1000", "999"), ("-5", "0"), ("17.6", "17"), ("0042", "42")):
        page.fill("#number", typed)
        assert page.input_value("#number") == number
        assert page.get_attribute("#cat", "aria-label") == f"Cat number {number}"
    page.fill("#number", "")
    page.type("#number", "-")
    assert page.evaluate("$('number').validity.badInput") is False, "no text is left that is no number"
    page.type("#number", "8")
    assert page.input_value("#number") == "8"
    page.click("#new")
    assert page.input_value("#number") == ""


def test_back_brings_the_cat_before(open_page: Open, html: Path) -> None:
    page = open_page(html)
    page.click("#new")
    slide(page, ".knob:nth-child(1) input", 1)
    slid = pixels(page)
    page.click("#new")
    new = pixels(page)
    page.locator("#number").press_sequentially("17")
    assert page.input_value("#number") == "17"
    assert link_of(page) != ""
    page.click("#sheet button >> nth=3")
    page.go_back()
    page.wait_for_function("$('number').value === '17'")
    page.go_back()
    page.wait_for_function("$('number').value === ''")
    assert np.array_equal(pixels(page), new)
    page.go_back()
    page.wait_for_timeout(100)
    assert np.array_equal(pixels(page), slid), "as the sliders left it"
    page.go_back()
    page.wait_for_function("$('number').value === '23'")
    page.go_forward()
    page.wait_for_function("$('number').value === ''")
    assert np.array_equal(pixels(page), slid)


def test_new_cat_is_another_each_time(open_page: Open, html: Path) -> None:
    page = open_page(html)
    seen = [pixels(page)[0]]
    for _ in range(3):
        page.click("#new")
        assert page.input_value("#number") == ""
        seen.append(pixels(page)[0])
    assert len({image.tobytes() for image in seen}) == 4


def test_knob_does_what_sample_set_does(open_page: Open, model: Path, html: Path, knobs: Directions) -> None:
    page = open_page(html)
    page.fill("#number", "5")
    slide(page, ".knob:nth-child(2) input", 1.5)
    slide(page, ".knob:nth-child(3) input", -3)
    step = 1.5 * knobs.vectors[1] - 3 * knobs.vectors[2]
    moved = sample(model, shift_latents(CATS[5:6], step))[0]
    assert differ(sample(model, CATS[5:6])[0], moved) > 10
    assert differ(pixels(page)[0], moved) <= LEVELS
    assert page.evaluate("knobs[2].slider.ariaValueText") == "3 towards less"
    page.click("#reset")
    assert differ(pixels(page)[0], sample(model, CATS[5:6])[0]) <= LEVELS
    assert page.is_disabled("#reset")
    slide(page, ".knob:nth-child(2) input", 1.5)
    page.dblclick(".knob:nth-child(2) input", position={"x": 20, "y": 16})
    assert differ(pixels(page)[0], sample(model, CATS[5:6])[0]) <= LEVELS, "a double click resets a knob"


def test_variety_truncates_the_cat_and_the_sheet_as_sample_does(
    open_page: Open, model: Path, html: Path
) -> None:
    page = open_page(html)
    page.fill("#number", "2")
    slide(page, "#variety", 0.5)
    expected = sample(model, random_latents(16, Z_DIM, truncate=0.5))
    assert differ(pixels(page)[0], expected[2]) <= LEVELS
    assert differ(pixels(page, "#sheet canvas"), expected) <= LEVELS
    page.click("#show-a")
    assert differ(pixels(page)[0], sample(model, CATS[23:24])[0]) <= LEVELS, "a kept cat is as it was"
    slide(page, "#variety", 0.26)
    assert differ(pixels(page)[0], sample(model, CATS[23:24] * 0.52)[0]) <= LEVELS


def test_walk_goes_from_one_kept_cat_to_the_other(open_page: Open, model: Path, html: Path) -> None:
    page = open_page(html)
    for number, end in (("4", "a"), ("7", "b")):
        page.fill("#number", number)
        page.click(f"#keep-{end}")
        assert differ(pixels(page, f"#{end}")[0], sample(model, CATS[int(number)][None])[0]) <= LEVELS
    way = sample(model, interpolate(CATS[4], CATS[7], 5))
    for place, expected in zip((0, 0.25, 0.5, 0.75, 1), way, strict=True):
        slide(page, "#walk", place)
        assert differ(pixels(page)[0], expected) <= LEVELS
    assert page.input_value("#number") == "7"
    page.click("#show-a")
    assert page.input_value("#number") == "4"
    assert page.input_value("#walk") == "0"


def test_played_walk_comes_back_and_stops_where_it_is(open_page: Open, html: Path) -> None:
    page = open_page(html)
    slide(page, "#knobs input", 1)
    link = link_of(page)
    page.evaluate("window.places = []; window.look = setInterval(() => places.push(+$('walk').value), 20)")
    page.click("#play")
    assert page.inner_text("#play") == "Pause"
    assert page.input_value("#number") == ""
    assert page.input_value("#knobs input") == "0", "the knobs no longer describe the picture"
    assert page.is_disabled("#reset")
    page.wait_for_timeout(5000)  # there takes four seconds
    assert page.evaluate("location.hash") == link, "the link waits for rest"
    page.click("#play")
    quiet(page)
    places = np.array(page.evaluate("clearInterval(look), places"))
    assert page.inner_text("#play") == "Play"
    assert places.max() > 0.9
    assert 0 < places[-1] < places.max() - 0.02, "on its way back"
    assert len(set(places)) > 20
    assert link_of(page) != link
    here = pixels(page)[0]
    slide(page, "#walk", float(page.input_value("#walk")))
    assert np.array_equal(pixels(page)[0], here)


def test_with_less_motion_the_walk_is_a_few_still_pictures(open_page: Open, html: Path) -> None:
    page = open_page(html, reduced_motion="reduce")
    page.click("#play")
    places = set()
    for _ in range(25):
        page.wait_for_timeout(100)
        places.add(page.input_value("#walk"))
    assert 2 <= len(places) <= 4


def test_back_from_a_walk_brings_the_cat_that_was_not_kept(open_page: Open, html: Path) -> None:
    page = open_page(html)
    page.click("#new")
    new = pixels(page)
    page.click("#play")
    page.wait_for_timeout(200)
    page.click("#play")
    assert link_of(page)
    assert not np.array_equal(pixels(page), new)
    slide(page, "#walk", 0.7)
    page.go_back()
    page.wait_for_function("$('walk').value === '0.7' && !cat.walking")
    assert np.array_equal(pixels(page), new)
    page.click("#play")
    page.go_back()  # while it plays
    assert page.inner_text("#play") == "Play"
    assert np.array_equal(pixels(page), new)


def test_each_back_goes_to_another_cat(open_page: Open, html: Path) -> None:
    page = open_page(html)
    entries = page.evaluate("history.length")
    for _ in range(3):
        page.focus("#number")
        page.focus("#new")
        page.click("#sheet button >> nth=3")
    assert page.evaluate("history.length") == entries + 1, "one other cat has been chosen"
    page.locator("#number").fill("")
    page.locator("#number").press_sequentially("317")
    page.go_back()
    page.wait_for_function("$('number').value === '3'")


def test_focus_is_never_behind_the_cat_of_a_phone(open_page: Open, html: Path) -> None:
    page = open_page(html, viewport={"width": 390, "height": 844})
    page.focus("#next")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        hidden = page.evaluate(
            "() => { const {x, y, width, height} = document.activeElement.getBoundingClientRect();"
            "  return document.elementFromPoint(x + width / 2, y + height / 2) === $('cat'); }"
        )
        assert not hidden, page.evaluate("document.activeElement.outerHTML")


def test_slider_that_moves_fast_makes_the_pictures_of_where_it_rests(
    open_page: Open, model: Path, html: Path, knobs: Directions
) -> None:
    page = open_page(html)
    page.fill("#number", "5")
    quiet(page)
    page.evaluate(
        "window.sent = 0; const post = worker.postMessage.bind(worker);"
        "worker.postMessage = (...message) => { sent++; post(...message); };"
        "for (let i = 0; i < 200; i++) {"
        "  knobs[0].slider.value = i % 2; knobs[0].slider.dispatchEvent(new Event('input')); }"
    )
    moved = sample(model, shift_latents(CATS[5:6], knobs.vectors[0]))[0]
    assert differ(pixels(page)[0], moved) <= LEVELS
    assert page.evaluate("sent") <= 3, "the first, the last, and perhaps the layers' pictures"


def test_link_restores_the_cat_to_the_bit(open_page: Open, html: Path, model: Path) -> None:
    page = open_page(html, permissions=["clipboard-read", "clipboard-write"])
    page.click("#new")
    slide(page, ".knob:nth-child(1) input", 1)
    page.click("#copy")
    page.wait_for_selector("text=The link to this cat is copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.url
    link = "#" + copied.partition("#")[2]
    again = open_page(html, link)
    assert np.array_equal(pixels(again), pixels(page))
    assert again.input_value("#number") == ""
    again.fill("#number", "8")
    known = link_of(again)
    again.evaluate("link => { location.hash = link; }", link)
    again.wait_for_timeout(100)
    assert np.array_equal(pixels(again), pixels(page)), "a link opened in the same page"
    again.fill("#number", "8")
    assert link_of(again) == known
    paste(again, f"on the page: {link}\n")
    again.wait_for_timeout(100)
    assert np.array_equal(pixels(again), pixels(page)), "a link pasted into an open page"
    paste(again, "see issue #42")
    assert again.inner_text("#status") == "What you pasted is no link to a cat of this page."
    assert np.array_equal(pixels(again), pixels(page))
    assert open_page(html, known).input_value("#number") == "8"
    wrong = open_page(html, "#nonsense")
    assert wrong.inner_text("#status") == "That link leads to no cat of this page."
    assert differ(pixels(wrong)[0], sample(model, CATS[23:24])[0]) <= LEVELS


@pytest.mark.parametrize(("button", "scale"), [("#save", 1), ("#save4", 4)])
def test_saved_picture_is_the_cat(button: str, scale: int, open_page: Open, html: Path) -> None:
    page = open_page(html)
    page.fill("#number", "6")
    with page.expect_download() as saved:
        page.click(button)
    assert saved.value.suggested_filename == f"cat-6-{32 * scale}.png"
    with Image.open(saved.value.path()) as picture:
        written = np.asarray(picture.convert("RGB"))
    side = 32 * scale
    assert written.shape == (side, side, 3)
    cat = Image.fromarray(pixels(page)[0])
    if scale == 1:
        assert np.array_equal(written, np.asarray(cat))
    else:  # smoothed: 3 gray levels from Pillow's way, which is 37 from an enlargement in squares
        smooth = np.asarray(cat.resize((side, side), Image.Resampling.BILINEAR))
        assert np.abs(written.astype(int) - smooth).mean() < 8


def test_everything_can_be_done_with_the_keyboard(open_page: Open, html: Path) -> None:
    page = open_page(html)
    controls = page.evaluate("document.querySelectorAll('button:not(:disabled), input').length")
    reached = set()
    for _ in range(controls):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("[...document.querySelectorAll('button, input')].indexOf(document.activeElement)")
        )
    assert len(reached - {-1}) == controls
    before = pixels(page)
    page.focus("#knobs input")
    page.keyboard.press("ArrowRight")
    assert not np.array_equal(pixels(page), before)
    page.focus("#new")
    page.keyboard.press("Enter")
    assert page.input_value("#number") == ""


def test_every_control_has_a_name_for_a_screen_reader(open_page: Open, html: Path) -> None:
    page = open_page(html)
    lines = page.locator("main").aria_snapshot().splitlines()
    controls = [line for line in lines if re.match(r"\s*- (button|slider|spinbutton|img)\b", line)]
    assert len(controls) == 39
    assert [
        line for line in controls if not re.search(r'(button|slider|spinbutton|img) "[^"]{2}', line)
    ] == []


# How it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_a_contrast_of_four_and_a_half(scheme: str, open_page: Open, html: Path) -> None:
    page = open_page(html, color_scheme=scheme)
    slide(page, "#knobs input", 1)  # shows the button that undoes it
    colours = page.evaluate(
        """() => {
          const found = new Set(), rgb = colour => colour.match(/[\\d.]+/g).map(Number);
          for (const element of document.querySelectorAll('body *')) {
            if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
            if (!element.checkVisibility({visibilityProperty: true})) continue;
            const ground = element => rgb(getComputedStyle(element).backgroundColor);
            let behind = element;
            while (ground(behind)[3] === 0) behind = behind.parentElement;
            found.add(JSON.stringify([rgb(getComputedStyle(element).color), ground(behind)]));
          }
          return [...found].map(JSON.parse);
        }"""
    )
    assert len(colours) >= 4
    grounds = {tuple(ground) for _, ground in colours}
    assert all((np.mean(ground) < 60) == (scheme == "dark") for ground in grounds if np.ptp(ground) < 20)
    for text, ground in colours:
        light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def luminance(colour: list[float]) -> float:
    """Relative luminance of red, green and blue from 0 to 255 (WCAG 2.2)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(colour[:3]) / 255]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_is_cut_off_or_scrolls_sideways(width: int, open_page: Open, html: Path) -> None:
    page = open_page(html, viewport={"width": width, "height": 700})
    slide(page, "#knobs input", 1)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    overlap = page.evaluate(
        """() => [...document.querySelectorAll('button, input, h1, h2, p, li *')].filter(element => {
          const {left, right} = element.getBoundingClientRect();
          return left < 0 || right > innerWidth || element.scrollWidth > element.clientWidth + 8;
        }).map(element => element.outerHTML)"""
    )
    assert overlap == []
    page.evaluate("document.querySelector('#walk').scrollIntoView({block: 'end'})")
    box = page.locator("#cat").bounding_box()
    assert box["y"] >= 0, "the cat stays in view while it is changed"
    assert box["width"] > 250


def test_page_works_in_the_frame_of_a_notebook(browser: Any, html: Path, tmp_path: Path) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe sandbox="allow-scripts" src="{html.as_uri()}" width="900" height="700"></iframe>'
    )
    context = browser.new_context()
    page = context.new_page()
    page.goto(frame.as_uri())
    inner = page.frame_locator("iframe")
    inner.locator("#speed", has_text="in WebAssembly").wait_for(timeout=10_000)
    inner.locator("#copy").click()
    inner.locator("#status", has_text="Copy this link: file:///").wait_for(timeout=10_000)
    context.close()


# What it is made of


def test_kernel_is_built_from_its_source() -> None:
    source = (PAGE / "kernel.wat").read_text("utf-8")
    assert wasmtime.wat2wasm(source) == (PAGE / "kernel.wasm").read_bytes()


def test_sources_are_five_files_that_can_be_read() -> None:
    sources = {
        file.name: file.read_text("utf-8").splitlines() for file in PAGE.iterdir() if file.suffix != ".wasm"
    }
    assert sources.keys() == {"page.html", "page.css", "page.js", "network.js", "kernel.wat"}
    assert sum(map(len, sources.values())) <= 600
    assert max(len(line) for lines in sources.values() for line in lines) <= 150


def test_page_that_would_be_too_large_is_refused_with_its_size(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdcgan.export.page.LARGEST_PAGE", 10_000)
    with pytest.raises(InputError, match=r"its page would have 0\.\d MB, and 0\.01 MB are the most"):
        export_page(model, tmp_path / "cats.html")
    assert not list(tmp_path.iterdir())


def test_a_knobs_name_cannot_end_the_page_s_data(model: Path, knobs: Directions, tmp_path: Path) -> None:
    export_page(model, tmp_path / "cats.html", knobs._replace(names=("</script>", *knobs.names[1:])))
    ends = (tmp_path / "cats.html").read_text("utf-8").count("</script>")
    assert ends == (PAGE / "page.html").read_text("utf-8").count("</script>")


def test_command_says_what_it_wrote(
    model: Path, knobs: Directions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "cats.html"
    command = ["export", "--to=page", f"--checkpoint={model}", f"--out={file}"]
    assert main(command) == 0
    written = capsys.readouterr().out
    assert f"{model} as a page in {file}, {file.stat().st_size / 1e6:.1f} MB, without knobs" in written
    save_directions(knobs, tmp_path / "knobs.npz")
    assert main([*command, f"--directions={tmp_path / 'knobs.npz'}", "--z=normal"]) == 0
    assert "with 8 knobs" in capsys.readouterr().out
    assert '"distribution": "normal"' in file.read_text("utf-8")
    assert main([*command, f"--directions={tmp_path / 'nosuch.npz'}"]) == 1
    assert "nosuch.npz does not exist" in capsys.readouterr().err
