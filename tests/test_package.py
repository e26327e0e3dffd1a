"""The package as a whole: quiet, no side effects on TensorFlow, nothing missing, every bug tested."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pictures import files

import catdcgan
from catdcgan import __version__, random_latents, sample
from catdcgan.tf1 import NOISE, tf, without_log_lines

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
SOURCES = sorted((REPOSITORY / "catdcgan").rglob("*.py"))


def run_program(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new Python, with nothing set for TensorFlow but these variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=inherited | {"PYTHONPATH": str(REPOSITORY)} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def log_lines(text: str) -> list[str]:
    """TensorFlow's greetings and complaints in what a program printed."""
    return [
        line
        for line in text.splitlines()
        if NOISE.match(line.encode()) or re.search(r"oneDNN|cpu_feature_guard|cuda|AVX", line, re.I)
    ]


# Importing

OTHER_LIBRARY = "warning: this is another library, which the user must hear"

# A user's whole program, after an import of TensorFlow during which another library writes to stderr.
USER = f"""
import importlib.abc, json, os, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tf_keras":
            raise ModuleNotFoundError("tf_keras is not installed", name=name)
        if name == "tensorflow":
            os.write(2, b"{OTHER_LIBRARY}\\n")

sys.meta_path.insert(0, Watch())

import catdcgan
import catdcgan.training, catdcgan.sampling

folder = sys.argv[1]
data = catdcgan.Dataset.from_array(catdcgan.draw_cats(4, 32))
model = folder + "/models/model.ckpt"
catdcgan.train(1, 4, 8, 1e-4, 1e-4, 0.5, data.get_batches, data.shape, "RGB", 0.2, base_filters=4,
               model_dir=folder + "/models", image_dir=folder + "/images", average_decay=0.9)
catdcgan.sample(model, catdcgan.random_latents(2, 8))
catdcgan.plot_losses(catdcgan.read_losses(folder + "/models/history.jsonl")).savefig(folder + "/losses.png")
device = catdcgan.describe_device()

import tensorflow as tf
print(json.dumps({{
    "device": device,
    "eager": tf.executing_eagerly(),
    "v2": tf.compat.v1.resource_variables_enabled() and tf.__internal__.tf2.enabled(),
    "control_flow_v2": tf.compat.v1.control_flow_v2_enabled(),
    "default_graph_ops": len(tf.compat.v1.get_default_graph().get_operations()),
    "sum": float(tf.reduce_sum(tf.constant([1.0, 2.0]))),
    "log_level": os.environ["TF_CPP_MIN_LOG_LEVEL"],
    "onednn": os.environ["TF_ENABLE_ONEDNN_OPTS"],
    "growth": os.environ["TF_FORCE_GPU_ALLOW_GROWTH"],
    "legacy": os.environ.get("TF_USE_LEGACY_KERAS"),
    "tf_keras": "tf_keras" in sys.modules,
}}))
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A user's program that trains and draws, run without tf-keras and without any variable set."""
    return run_program(USER, str(tmp_path_factory.mktemp("user")))


def test_importing_the_package_loads_no_tensorflow_and_prints_nothing() -> None:
    done = run_program(
        "import catdcgan, sys; assert 'tensorflow' not in sys.modules; assert 'numpy' not in sys.modules"
    )
    assert done.stdout + done.stderr == ""


def test_using_everything_prints_none_of_tensorflows_log_lines(
    user: subprocess.CompletedProcess[str],
) -> None:
    assert len(user.stdout.splitlines()) == 1, "the user's own line"
    assert log_lines(user.stderr) == []


def test_what_another_library_says_meanwhile_is_passed_on(user: subprocess.CompletedProcess[str]) -> None:
    first, *rest = filter(None, user.stderr.splitlines())
    assert first == OTHER_LIBRARY
    assert all("images/s" in line for line in rest), "the progress bar, and nothing else"


def test_tensorflow_keeps_its_own_ways_after_training_and_drawing(
    user: subprocess.CompletedProcess[str],
) -> None:
    state = json.loads(user.stdout)
    assert state["eager"]
    assert state["v2"]
    assert state["control_flow_v2"]
    assert state["default_graph_ops"] == 0
    assert state["sum"] == 3


def test_it_works_without_tf_keras_and_without_its_variable(user: subprocess.CompletedProcess[str]) -> None:
    state = json.loads(user.stdout)
    assert not state["tf_keras"]
    assert state["legacy"] is None


def test_a_user_who_sets_no_variable_gets_fast_kernels_and_gpu_memory_as_needed(
    user: subprocess.CompletedProcess[str],
) -> None:
    state = json.loads(user.stdout)
    assert state["onednn"] == "1"
    assert state["growth"] == "true"


def test_the_device_is_described_in_a_sentence(user: subprocess.CompletedProcess[str]) -> None:
    assert re.match(r"(No GPU found: .*|GPU found: .*)\.", json.loads(user.stdout)["device"])


@pytest.mark.slow
def test_variables_that_the_user_has_set_stay_and_show_the_log_lines() -> None:
    variables = {
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_FORCE_GPU_ALLOW_GROWTH": "false",
    }
    done = run_program(
        f"import os, catdcgan; catdcgan.train; print([os.environ[name] for name in {list(variables)}])",
        **variables,
    )
    assert done.stdout == "['0', '0', 'false']\n"
    assert log_lines(done.stderr), "TF_CPP_MIN_LOG_LEVEL=0 asks for them"


@pytest.mark.slow
@pytest.mark.parametrize("level", ["", "3"])
def test_who_asks_tensorflow_for_silence_gets_no_more_log_lines_than_by_default(level: str) -> None:
    program = "from catdcgan.tf1 import tf; g = tf.Graph(); tf.Session(graph=g).run(g.create_op('NoOp', []))"
    assert run_program(program, TF_CPP_MIN_LOG_LEVEL=level).stderr == ""


def test_without_a_place_for_temporary_files_log_lines_are_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with without_log_lines():
        os.write(2, b"I0000 a log line\n")
    assert capfd.readouterr().err == "I0000 a log line\n"


def test_eager_mode_and_the_default_graph_are_as_before_after_drawing(run: Path) -> None:
    graph = tf.get_default_graph()
    before = len(graph.get_operations())
    sample(run / "models" / "model.ckpt", random_latents(2, 100))
    assert tf.executing_eagerly()
    assert tf.get_default_graph() is graph
    assert len(graph.get_operations()) == before


def test_the_module_is_a_command() -> None:
    done = run_program(
        "import runpy, sys; sys.argv[1:] = ['--version']; runpy.run_module('catdcgan', run_name='__main__')"
    )
    assert (done.stdout, done.stderr) == (f"{__version__}\n", "")


# The names


@pytest.mark.parametrize("name", catdcgan.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(catdcgan, name))


def test_the_articles_functions_are_public() -> None:
    article = ["model_inputs", "discriminator", "generator", "model_loss", "model_optimizers", "train"]
    assert {*article, "show_generator_output", "Dataset"} <= set(catdcgan.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Generator'"):
        exec("catdcgan.Generator", {"catdcgan": catdcgan})
    with pytest.raises(ImportError, match="cannot import name 'Generator'"):
        exec("from catdcgan import Generator", {})


# Nothing missing, nothing gone


@pytest.mark.tutorial_bug(24)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_only_what_is_installed_with_the_package_is_imported(source: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    top = {name.split(".")[0] for name in imported}
    # setuptools still brings a distutils along, and Python 3.10 and 3.11 list it, so name it.
    assert not top & {"scipy", "distutils", "imp", "helper", "utils"}
    assert not [name for name in imported if re.search(r"tensorflow\.contrib|scipy\.misc|tf_keras", name)]
    dependencies = {"catdcgan", "tensorflow", "numpy", "PIL", "matplotlib", "tqdm", "filelock"}
    in_a_notebook = {"IPython"}  # imported when a Jupyter kernel runs, which brings it
    extra = {"cv2"}  # imported if it is installed
    assert top <= set(sys.stdlib_module_names) | dependencies | in_a_notebook | extra


# Imports all modules, and tells their names and where the package lies.
IMPORT_ALL = """
import catdcgan, importlib, json, pkgutil
names = [module.name for module in pkgutil.walk_packages(catdcgan.__path__, "catdcgan.")]
for name in names:
    importlib.import_module(name)
print(json.dumps([*catdcgan.__path__, *names]))
"""


def copy_sources(clone: Path) -> None:
    """Copy what a wheel is built of: building writes beside it, and takes in what an older build left."""
    shutil.copytree(REPOSITORY / "catdcgan", clone / "catdcgan", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, clone)


@pytest.mark.slow
def test_a_wheel_holds_all_of_the_package_and_works_away_from_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, installed = tmp_path / "source", tmp_path / "installed"
    copy_sources(source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert files(installed / "catdcgan") == files(source / "catdcgan")
    others = {
        "__init__.pyi",
        "data/cat_dataset_outliers.txt",
        "export/page/page.html",
        "export/page/kernel.wasm",
    }
    assert others <= files(installed / "catdcgan").keys()
    monkeypatch.chdir(tmp_path)
    place, *names = json.loads(run_program(IMPORT_ALL, PYTHONPATH=str(installed)).stdout)
    assert place == str(installed / "catdcgan")
    modules = [file.relative_to(REPOSITORY).with_suffix("") for file in SOURCES if file.stem != "__init__"]
    assert {".".join(module.parts) for module in modules} <= {*names}


def test_above_a_clone_named_like_the_package_an_editable_install_finds_the_package(tmp_path: Path) -> None:
    clone, installed = tmp_path / "catdcgan", tmp_path / "installed"
    copy_sources(clone)
    build = f"from setuptools.build_meta import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=clone, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    program = f"import site; site.addsitedir({str(installed)!r}); import catdcgan; print(*catdcgan.__path__)"
    # -ES: without PYTHONPATH, and without what is installed in this Python, this package among it.
    done = subprocess.run(
        [sys.executable, "-ES", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == f"{clone / 'catdcgan'}\n", done.stderr


# What a module may import of the package, from the bottom up: the command line is at the end.
FLOORS = [
    {"catdcgan"},  # for the version
    {"errors", "files", "settings", "screen"},
    {"tf1", "images", "animation", "latents", "output"},
    {"run", "data"},
    {"model", "diff_augment"},
    {"parallel"},
    {"sampling"},
    {"explore", "export", "evaluate"},
    {"graph"},
    {"training"},
    {"cli"},
]


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_imports_run_one_way(source: Path) -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    mine = floor.get(source.relative_to(REPOSITORY / "catdcgan").parts[0].removesuffix(".py"), len(FLOORS))
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "catdcgan":
            room = node.module.split(".")[1:2] or ["catdcgan"]
            assert floor[room[0]] <= mine, f"{source.name} imports {node.module}"


# The table of what was wrong


def test_every_bug_of_the_tutorial_has_a_test_that_fails_on_it() -> None:
    marks = re.compile(
        r"^\s*(?:@pytest\.mark|pytestmark = pytest\.mark)\.tutorial_bug\((\d+)\)", re.MULTILINE
    )
    rows = {int(row) for file in TESTS.rglob("test_*.py") for row in marks.findall(file.read_text())}
    # Row 28 is the script that prepares the CAT dataset.
    assert sorted(set(range(1, 28)) - rows) == []
    assert max(rows) <= 28
