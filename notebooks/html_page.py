"""The web page of an executed notebook: one file that asks nothing of other sites and runs no script."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

# JupyterLab's page without the scripts that nbconvert loads from elsewhere: they show formulas and diagrams,
# and the notebook has none. Pictures get the alternative texts that the notebook stores with them. The code
# that a cell shows as Markdown would otherwise appear in the font of the prose.
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
main { max-width: 1040px; margin: auto; }
.jp-InputArea-editor, .jp-RenderedMarkdown .highlight { overflow-x: auto; }
.jp-RenderedMarkdown .highlight pre { white-space: pre; }
.jp-RenderedMarkdown pre, .jp-RenderedMarkdown code, .jp-RenderedText pre {
  font-family: var(--jp-code-font-family); font-size: var(--jp-code-font-size); line-height: 1.3;
}
</style>
{%- endblock -%}
{%- macro picture(output, kind, data) -%}
<div class="jp-RenderedImage jp-OutputArea-output">
<img alt="{{ (output | get_metadata('alt', kind) or '') | escape_html }}"
  src="data:{{ kind }};base64,{{ data }}">
</div>
{%- endmacro -%}
{%- block data_png -%}{{ picture(output, 'image/png', output.data['image/png']) }}{%- endblock -%}
{%- block data_jpg -%}{{ picture(output, 'image/jpeg', output.data['image/jpeg']) }}{%- endblock -%}
{%- block data_svg -%}
{{ picture(output, 'image/svg+xml', output.data['image/svg+xml'] | text_base64) }}
{%- endblock -%}
"""


def tidy_streams(notebook: nbformat.NotebookNode) -> None:
    """Merge what a cell printed in pieces, and keep only the last state of a progress bar, as on a screen.

    A bar moves to the standard output, because Jupyter shows the error stream on red. A bar that only repeats
    the one before it is removed: tqdm prints it again when a picture was shown in between.
    """
    CoalesceStreamsPreprocessor(enabled=True).preprocess(notebook, {})
    for cell in notebook.cells:
        bars = [output for output in cell.get("outputs", []) if "%|" in output.get("text", "")]
        for number, bar in enumerate(bars):
            bar.name = "stdout"
            if number and bar.text.strip() == bars[number - 1].text.strip():
                cell.outputs = [output for output in cell.outputs if output is not bar]


def move_links(notebook: nbformat.NotebookNode, old: Path, new: Path) -> None:
    """Rewrite links and frames that lead out of the notebook's folder, `old`, to work from `new`."""
    up = Path(os.path.relpath(old.parent, new)).as_posix()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\(\.\./", f"]({up}/", cell.source)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = output.data["text/html"].replace('src="../', f'src="{up}/')


def page_of(notebook: nbformat.NotebookNode) -> str:
    """Return the notebook as an HTML page, with its pictures inside."""
    loader = DictLoader({"page.html.j2": TEMPLATE})
    page, _ = HTMLExporter(extra_loaders=[loader], template_file="page.html.j2").from_notebook_node(notebook)
    return str(page)
