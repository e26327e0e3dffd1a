"""The notebook, its page, a copy elsewhere, and an interrupted run; nbval runs it from top to bottom."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from io import BytesIO
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_client.manager import start_new_kernel
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).parents[1]
FILE = ROOT / "notebooks" / "cat_dcgan.ipynb"
NOTEBOOK = nbformat.read(FILE, as_version=4)
SOURCE = {cell.id: cell.source for cell in NOTEBOOK.cells}


@pytest.fixture(scope="module")
def page() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "notebooks")
        return importlib.import_module("html_page")


# The committed file


def test_notebook_is_small_holds_each_picture_once_and_nothing_of_the_machine_that_ran_it() -> None:
    assert FILE.stat().st_size < 3_000_000
    shown = [output.get("data", {}) for cell in NOTEBOOK.cells for output in cell.get("outputs", [])]
    pictures = [{kind: data[kind] for kind in data if kind.startswith("image/")} for data in shown]
    assert [list(kinds) for kinds in pictures if len(kinds) > 1] == []
    counts = Counter(content for kinds in pictures for content in kinds.values())
    assert len(counts) > 10
    assert set(counts.values()) == {1}
    assert set(NOTEBOOK.metadata) == {"kernelspec", "language_info", "title"}
    assert NOTEBOOK.metadata.language_info == {"name": "python"}
    assert {key for cell in NOTEBOOK.cells for key in cell.metadata} == {"tags", "nbval_reason"}


def test_papermill_finds_one_cell_of_parameters_before_all_that_uses_them() -> None:
    code = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
    assert [number for number, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])] == [
        0
    ]
    values: dict[str, object] = {}
    exec(code[0].source, {}, values)
    assert values == {"RUN": None, "PHOTOS": "data/cats", "OUT": None, "REPOSITORY": None}


# The page


def test_page_can_be_read_without_a_connection_and_without_eyes(page: ModuleType) -> None:
    notebook = nbformat.read(FILE, as_version=4)
    folder = ROOT / "runs" / "notebook"
    page.move_links(notebook, FILE.parent, folder)
    soup = BeautifulSoup(page.page_of(notebook), "html.parser")

    assert soup.title is not None
    assert soup.title.text == "A neural network that draws cats"
    assert soup.find_all(["script", "link", "object"]) == []
    (frame,) = (str(tag["src"]) for tag in soup.find_all("iframe"))
    assert Path(os.path.normpath(folder / frame)) == ROOT / "runs" / "notebook-quick" / "cats.html"
    sources = [str(tag["src"]) for tag in soup.select("[src]:not(iframe)")]
    styles = " ".join(tag.text for tag in soup.find_all("style"))
    loaded = [*sources, *re.findall(r"url\(\s*[\"']?([^\"')]+)", styles)]
    assert [url[:60] for url in loaded if not url.startswith(("data:", "#"))] == []
    assert "@import" not in styles
    assert "$" not in "".join(SOURCE.values()), "a formula: the page has no script to show it"

    links = [str(tag["href"]) for tag in soup.select("a[href]:not(.anchor-link)")]
    files = [link for link in links if not re.match("https?:|#", link)]
    assert "../../models/README.md" in files
    assert [link for link in files if not Path(os.path.normpath(folder / link)).is_file()] == []

    alts = [str(tag["alt"]) for tag in soup.find_all("img")]
    assert [alt for alt in alts if len(alt) < 10 or "No description" in alt] == []
    (animation,) = (url for url in sources if url.startswith("data:image/webp"))
    with Image.open(BytesIO(b64decode(animation.partition(",")[2]))) as moving:
        assert getattr(moving, "n_frames", 1) > 5

    assert soup.select('[data-mime-type="application/vnd.jupyter.stderr"]') == []
    printed = [tag.text for tag in soup.select(".jp-RenderedText")]
    assert max(text.count("%|") for text in printed) == 1


def test_progress_is_merged_and_does_not_look_like_an_error_but_a_warning_does(page: ModuleType) -> None:
    def printed(name: str, text: str) -> object:
        return new_output("stream", name=name, text=text)

    picture = new_output("display_data", {"text/plain": "a picture"})
    pieces = [printed("stderr", f"\r{percent:3}%|bar|") for percent in (0, 50, 100)]
    again = [printed("stderr", "\r100%|bar|"), printed("stderr", "\n")]
    warning = new_code_cell("", outputs=[printed("stderr", "a "), printed("stderr", "warning\n")])
    notebook = new_notebook(cells=[new_code_cell("", outputs=[*pieces, picture, *again]), warning])
    page.tidy_streams(notebook)
    bar, kept = notebook.cells[0].outputs
    assert (bar.name, bar.text, kept) == ("stdout", "100%|bar|", picture)
    assert [(output.name, output.text) for output in warning.outputs] == [("stderr", "a warning\n")]


# A copy elsewhere

HIDE = "import importlib.util; importlib.util.find_spec = "
HIDE += "lambda name, found=importlib.util.find_spec: None if name == {!r} else found(name)\n"


def set_up(folder: Path, before: str = "", after: str = "") -> str:
    """What the first two cells print in a folder; `before` stands before them, `after` between them."""
    folder.mkdir(exist_ok=True)
    cells = [before, SOURCE["parameters"], after, SOURCE["find-project"], "print('works in', os.getcwd())"]
    (folder / "cells.ipy").write_text("\n".join(cells), "utf-8")
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "cells.ipy"]
    environment = os.environ | {"IPYTHONDIR": str(folder / "ipython")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_copy_of_the_notebook_finds_the_project_that_the_package_was_installed_from(tmp_path: Path) -> None:
    assert f"works in {ROOT}\n" in set_up(tmp_path)


@pytest.mark.parametrize(
    ("hidden", "remedy"),
    [
        ("catdcgan", "FileNotFoundError: The project catdcgan was not found. Open this notebook inside a"),
        ("tqdm", f'ModuleNotFoundError: Missing: tqdm. Type in a cell: %pip install "{ROOT}"'),
    ],
)
def test_notebook_says_what_to_do_where_something_is_missing(
    hidden: str, remedy: str, tmp_path: Path
) -> None:
    printed = set_up(tmp_path, HIDE.format(hidden))
    assert remedy in printed
    assert "works in" not in printed


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_notebook_fetches_the_project_and_installs_it(tmp_path: Path) -> None:
    repository, folder = tmp_path / "the project", tmp_path / "elsewhere"
    (repository / "images").mkdir(parents=True)
    (repository / "images" / "networks.svg").touch()
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    pretend = HIDE.format("catdcgan") + "import sys; sys.executable = 'echo'\n"  # pip would need a connection
    printed = set_up(folder, pretend, f"REPOSITORY = {str(repository)!r}")
    assert "-m pip install --quiet ./catdcgan" in printed
    assert f"works in {folder / 'catdcgan'}\n" in printed


# An interrupted run

TINY = """
import shutil
from pathlib import Path
import numpy as np
from IPython.display import HTML, display
from catdcgan import Dataset, draw_cats, read_losses, train
from catdcgan.images import show_image
dataset = Dataset.from_array(draw_cats(32, size=32))
RUN, run_dir, image_size = "quick", Path({!r}), 32
epochs, batch_size, z_dim, learning_rate_D, learning_rate_G, beta1, alpha = 10**6, 8, 8, 1e-4, 1e-4, 0.5, 0.2
base_filters, sample_every_steps, show_every_epochs, average_decay, statistics_latents = 4, 5, 0, 0.9, 16
"""


@pytest.mark.slow
def test_interrupted_training_leaves_no_traceback_and_the_next_cells_go_on(tmp_path: Path) -> None:
    manager, client = start_new_kernel(extra_arguments=["--log-level=ERROR"])
    try:
        client.execute_interactive(TINY.format(str(tmp_path / "run")), timeout=120)
        printed = ""
        client.execute(SOURCE["code-40"])
        while "step 12" not in printed:
            message = client.get_iopub_msg(timeout=120)
            printed += message["content"].get("text", "")
        manager.interrupt_kernel()
        replies = [client.get_shell_msg(timeout=120)]
        for cell in ("code-41", "code-43", "code-44", "code-46"):
            replies.append(client.execute_interactive(SOURCE[cell], output_hook=print, timeout=120))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert [reply["content"]["status"] for reply in replies] == ["ok"] * 5
