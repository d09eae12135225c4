"""The shape of the package: who may import whom, and what importing it must not do."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bayes_tsl as bt

PACKAGE = Path(bt.__file__).parent
# A module imports only from entries above its own.
LAYERS = (
    ("errors",),
    ("_common",),
    ("data",),
    ("model",),
    ("inference",),
    ("forecasting",),
    ("decisions", "evaluation"),
    ("analysis",),
    ("plots",),
    ("reporting",),
    ("live",),
    ("old_names",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
}


def for_types_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not for_types_alone(child):
            yield from nodes(child)


def imported(source: str) -> set[str]:
    """Modules of the package that a source imports, anywhere but for types alone; '' stands for the package itself."""
    names: set[str] = set()
    for node in nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names |= {f"bayes_tsl.{alias.name}" for alias in node.names} if node.module == "bayes_tsl" else {f"{node.module}"}
    inside = {name.partition(".")[2] for name in names if name.partition(".")[0] == "bayes_tsl"}
    return {name.partition(".")[0] if name.partition(".")[0] in LEVEL else "" for name in inside}


def test_every_module_has_a_layer() -> None:
    assert {name.partition(".")[0] for name in MODULES} == set(LEVEL)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    level = LEVEL.get(name.partition(".")[0], -1)
    others = imported(MODULES[name].read_text()) - {name.partition(".")[0]}
    upwards = {other for other in others if LEVEL.get(other, len(LAYERS)) >= level}
    assert not upwards, f"{name} imports {sorted(upwards)}, not below it"


def test_few_methods_call_functions_above_their_package() -> None:
    calls = {
        (name, node.args[0].value)
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "function_above" and isinstance(node.args[0], ast.Constant)
    }
    assert calls == {("inference.posterior", "forecast"), ("forecasting.distribution", "plot_forecast")}
    assert all(callable(getattr(bt, str(function))) for _, function in calls)


def inner_imports(name: str) -> set[str]:
    """Modules of its own package that a module imports."""
    package = name.partition(".")[0]
    found: set[str] = set()
    for node in nodes(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"bayes_tsl.{package}."):
            module = str(node.module).partition(".")[2]
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return (found & set(MODULES)) - {package, name}


@pytest.mark.parametrize("package", [name for name in LEVEL if (PACKAGE / name).is_dir()])
def test_a_package_has_no_cycle(package: str) -> None:
    left = {name: inner_imports(name) for name in MODULES if name.startswith(f"{package}.")}
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        for name in free:
            del left[name]
    assert not left, f"modules import each other in a circle: {sorted(left)}"


def test_no_module_is_hidden_by_a_name_of_its_package() -> None:
    hidden = []
    for name in MODULES:
        package, _, module = name.rpartition(".")
        owner = importlib.import_module(f"bayes_tsl.{package}" if package else "bayes_tsl")
        if module != "__main__" and not inspect.ismodule(getattr(owner, module, owner)):
            hidden.append(name)
    assert not hidden


def test_benchmarks_use_nothing_private() -> None:
    private = []
    for path in (PACKAGE.parent / "benchmarks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and f"{node.module}".startswith("bayes_tsl"):
                private += [f"{path.name}: {alias.name}" for alias in node.names if alias.name.startswith("_")]
    assert not private


def test_the_reader_of_imports_sees_every_kind() -> None:
    source = """
import bayes_tsl._common.files
from bayes_tsl import errors, fit
from bayes_tsl.errors import DataError
if TYPE_CHECKING:
    from bayes_tsl.cli.commands import main
def late():
    from bayes_tsl._common import dims
import numpy
"""
    assert imported(source) == {"_common", "errors", ""}


QUIET = """
import os
import bayes_tsl
import jax
for name in bayes_tsl.__all__:
    getattr(bayes_tsl, name)
assert not jax.config.jax_enable_x64, "x64 is on"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"  # heeded until a backend has started
assert jax.device_count() == 3, "a backend had started"
"""


SLOW = {"jax", "pandas", "numpy", "scipy", "matplotlib", "arviz", "distributed"}
LIGHT = f"""
import sys
import bayes_tsl as bt
print(*sorted({SLOW} & set(sys.modules)))
bt.fit, bt.forecast, bt.read_losses, bt.report, bt.plot_forecast
print(*sorted({{"arviz", "matplotlib", "distributed", "scipy.signal", "scipy.stats"}} & set(sys.modules)))
"""


def test_importing_loads_nothing_slow_before_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "\n\n"


def test_public_names_are_listed() -> None:
    assert {"fit", "forecast", "priors", "plots", "plot_forecast", "DataError"} <= set(dir(bt))
    with pytest.raises(AttributeError, match="no_such_name"):
        bt.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "module", [bt.baselines, bt.calibration, bt.collect, bt.datasets, bt.laws, bt.priors, bt.schedules, bt.scoring]
)
def test_a_public_module_lists_its_public_names(module: ModuleType) -> None:
    assert dir(module) == sorted(module.__all__)
    assert not {"np", "pd", "annotations"} & set(dir(module))
    assert all(hasattr(module, name) for name in module.__all__)


def test_importing_leaves_jax_and_the_disk_alone(tmp_path: Path) -> None:
    home, caches = tmp_path / "home", tmp_path / "caches of others"
    home.mkdir()
    places = {"HOME": home, "XDG_CACHE_HOME": caches, "XDG_CONFIG_HOME": caches, "MPLCONFIGDIR": caches}
    settings = {name: str(place) for name, place in places.items()} | {"JAX_PLATFORMS": "cpu", "PYTHONDONTWRITEBYTECODE": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", QUIET], env=inherited | settings, cwd=home, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not list(home.rglob("*")), "importing wrote files"
