"""pyproject.toml holds the ranges and constraints.txt the exact versions; all else must follow those two."""

import re
import sys
from contextlib import suppress
from importlib import metadata
from itertools import product
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
CONDA_SPECS = [spec for spec in ENVIRONMENT["dependencies"] if isinstance(spec, str)]
PIP_LINES = next(spec["pip"] for spec in ENVIRONMENT["dependencies"] if isinstance(spec, dict))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
CI_WORDS = re.findall(r"^make (\w+)$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
SYSTEMS = {"linux": ("Linux", "posix"), "darwin": ("Darwin", "posix"), "win32": ("Windows", "nt")}


def direct_requirements() -> list[Requirement]:
    every_extra = [line for extra in EXTRAS.values() for line in extra]
    return [Requirement(line) for line in PROJECT["dependencies"] + every_extra]


def pins(environment: dict[str, str]) -> dict[str, list[str]]:
    """The versions that constraints.txt gives each package on one machine: one each, if all is well."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            (specifier,) = pin.specifier
            assert specifier.operator == "==", f"{line} is not an exact version"
            if pin.marker is None or pin.marker.evaluate(environment):
                found.setdefault(canonicalize_name(pin.name), []).append(specifier.version)
    return found


def this_machine() -> dict[str, str]:
    return {name: str(value) for name, value in default_environment().items()}


def machine(python: str, system: str) -> dict[str, str]:
    platform_system, os_name = SYSTEMS[system]
    return {
        **this_machine(),
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": system,
        "platform_system": platform_system,
        "os_name": os_name,
    }


@pytest.mark.parametrize(("python", "system"), list(product(PYTHONS, SYSTEMS)))
def test_every_requirement_has_one_pin_within_its_range(python: str, system: str) -> None:
    environment = machine(python, system)
    pinned = pins(environment)
    assert [name for name, versions in pinned.items() if len(versions) > 1] == []
    for requirement in direct_requirements():
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (version,) = pinned[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


def test_no_dependency_of_a_dependency_is_left_unpinned() -> None:
    environment = this_machine()
    pinned = pins(environment)
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "") for requirement in direct_requirements()]
    while queue:
        requirement, extra = queue.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        assert name in pinned, f"{requirement.name} is missing from constraints.txt; `make pins` renews it"
        for wanted in {"", *requirement.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, wanted))
            with suppress(metadata.PackageNotFoundError):  # the extra "gpu" is not installed everywhere
                queue += [(Requirement(line), wanted) for line in metadata.requires(name) or []]


def test_the_gpu_build_differs_from_the_cpu_build_by_cuda_on_linux_alone() -> None:
    (gpu,) = map(Requirement, EXTRAS["gpu"])
    (tensorflow,) = (need for need in direct_requirements() if need.name == "tensorflow" and not need.extras)
    assert (gpu.name, gpu.extras, gpu.specifier) == ("tensorflow", {"and-cuda"}, tensorflow.specifier)
    assert gpu.marker is not None
    assert [system for system in SYSTEMS if gpu.marker.evaluate(machine("3.11", system))] == ["linux"]


def test_makefile_accepts_the_pythons_that_pyproject_accepts() -> None:
    (fits,) = re.findall(r"^FITS := (.+)$", MAKEFILE, re.MULTILINE)
    (low, high) = re.findall(r"\(3, (\d+)\)", fits)
    accepted = [f"3.{minor}" for minor in range(int(low), int(high) + 1)]
    assert accepted == PYTHONS
    assert accepted == list(SpecifierSet(PROJECT["requires-python"]).filter(f"3.{n}" for n in range(30)))


def test_make_lists_every_word_that_it_knows() -> None:
    (words,) = re.findall(r"^\.PHONY: help (.+)$", MAKEFILE, re.MULTILINE)
    assert re.findall(r'echo "make ([\w-]+) ', MAKEFILE) == words.split()


def test_ci_types_what_the_readme_tells_a_reader_to_type() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert CI_WORDS == ["lint", "test"]
    for word in CI_WORDS:
        assert f"make {word}" in readme


def test_conda_can_read_environment_yml_and_brings_nothing_but_a_fitting_python_and_pip() -> None:
    specs = [MatchSpec(spec, strict=True) for spec in CONDA_SPECS]
    versions = {spec.name.normalized: str(spec.version) for spec in specs}
    assert set(versions) == {"python", "pip"}
    assert versions["python"].removesuffix(".*") in PYTHONS


def test_environment_yml_installs_this_project_with_these_pins_and_adds_none() -> None:
    constraint, project = PIP_LINES
    assert constraint == "-c constraints.txt"
    (extras,) = re.findall(r"^-e \.\[(.+)\]$", project)
    assert set(extras.split(",")) == {"gpu", "notebook"} <= set(EXTRAS)
    assert ENVIRONMENT["name"] == PROJECT["name"]
