"""Execute cat_dcgan.ipynb from top to bottom and show how far it is. `make notebook` runs this.

The executed copy and a web page of it go to runs/notebook/. The committed notebook stays as it is, unless a
maintainer says --save.
"""

import argparse
import copy
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from html_page import move_links, page_of, tidy_streams
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).resolve().with_name("cat_dcgan.ipynb")
RESULT = NOTEBOOK.parents[1] / "runs" / "notebook" / NOTEBOOK.name


class TalkingClient(NotebookClient):
    """A notebook client that names each cell as it starts and passes on what the cell prints."""

    heading = ""
    line_is_open = False  # the last thing printed was a progress bar, or something else without a line end
    started = time.monotonic()

    def announce(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """Print the place of a code cell, under the last heading before it."""
        if cell.cell_type == "markdown":
            headings = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
            self.heading = headings[-1] if headings else self.heading
        elif cell.cell_type == "code":
            minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
            place = f"[{minutes}:{seconds:02d}] cell {cell_index + 1} of {len(self.nb.cells)}"
            print("\n" * self.line_is_open + f"{place}: {self.heading}", flush=True)
            self.line_is_open = False

    def process_message(self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int) -> Any:
        """Echo the cell's printed text, progress bars included, and store it as always."""
        if msg["msg_type"] == "stream":
            text = msg["content"]["text"]
            print(text, end="", flush=True)
            self.line_is_open = not text.endswith("\n")
        return super().process_message(msg, cell, cell_index)


def main() -> None:
    """Execute the notebook, then write the executed copy and the web page."""
    options = argparse.ArgumentParser(description="Run the notebook from top to bottom.")
    text = "for maintainers: also replace the committed notebook, outputs included"
    options.add_argument("--save", action="store_true", help=text)
    save = options.parse_args().save

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    metadata = copy.deepcopy(notebook.metadata)
    client = TalkingClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        # Quiets a warning that the kernel's messages are not encrypted: they never leave this machine.
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.on_cell_start = client.announce
    print(f"Running {NOTEBOOK.name} from top to bottom.")
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(f"\n{error}\nThe notebook stopped at this cell. Nothing was written.")

    notebook.metadata = metadata  # the kernel's is of this machine
    tidy_streams(notebook)
    if save:
        nbformat.write(notebook, NOTEBOOK)
    move_links(notebook, NOTEBOOK.parent, RESULT.parent)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, RESULT)
    RESULT.with_suffix(".html").write_text(page_of(notebook), encoding="utf-8")
    print("\n" * client.line_is_open + "Done. The notebook as it ran here, with its pictures:")
    print(f"  {RESULT.with_suffix('.html')}  (open it in a browser)")
    print(f"  {RESULT}  (the same as a notebook)")
    print("To change and run a copy of your own: make lab")


if __name__ == "__main__":
    main()
