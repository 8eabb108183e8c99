"""dvc.yaml, params.yaml, paths and the stages' code say the same thing.

DVC does not follow imports: a module that a stage uses and does not declare could change without the stage running
again. The imports are followed here, module by module, inside functions too.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from clew import params, paths, stages

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PIPELINE = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
STAGES = sorted(module.name for module in pkgutil.iter_modules(stages.__path__))


def _block(stage: str) -> dict[str, Any]:
    block = PIPELINE["stages"][stage]
    return block.get("do", block)


def _file(module: str) -> Path | None:
    """The file of a module of clew; None for a name that is no module (a function, say)."""
    path = SOURCE / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def _only_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imports(node: ast.AST) -> list[str]:
    """Names of modules of clew imported anywhere below a node, but for TYPE_CHECKING blocks."""
    found = []
    for child in ast.iter_child_nodes(node):
        if _only_types(child):
            continue
        if isinstance(child, ast.Import):
            found += [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "relative imports are not followed: write them out"
            found += [str(child.module), *(f"{child.module}.{alias.name}" for alias in child.names)]
        named = {getattr(child, "id", "")}
        named |= {alias.name for alias in getattr(child, "names", ()) if isinstance(alias, ast.alias)}
        assert not named & {"importlib", "import_module", "__import__"}, "hides an import"
        found += _imports(child)
    return [name for name in found if name.split(".")[0] == "clew"]


def _runs_code(tree: ast.Module) -> bool:
    """Whether a module is more than a docstring and a version."""
    return any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__")
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        for node in tree.body
    )


def closure(module: str) -> set[Path]:
    """The files of clew that importing and running a module uses."""
    seen: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        names = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]  # packages come with their modules
        for file in filter(None, map(_file, names)):
            if file not in seen:
                seen.add(file)
                waiting += _imports(ast.parse(file.read_text()))
    return {file for file in seen if _runs_code(ast.parse(file.read_text()))}


def test_every_stage_is_a_file_a_block_and_a_section() -> None:
    assert len(STAGES) >= 15
    assert sorted(PIPELINE["stages"]) == STAGES
    sections = set(params.Params.model_fields) - {"seed", "model"}
    assert sections == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_uses_is_among_its_deps(stage: str) -> None:
    declared = [ROOT / dep for dep in _block(stage)["deps"] if dep.startswith("src/")]
    undeclared = [
        str(file.relative_to(ROOT))
        for file in sorted(closure(f"clew.stages.{stage}"))
        if not any(file == dep or dep in file.parents for dep in declared)
    ]
    assert not undeclared, f"add to deps of {stage} in dvc.yaml: {undeclared}"


@pytest.mark.parametrize("stage", STAGES)
def test_no_dep_is_declared_that_a_stage_does_not_use(stage: str) -> None:
    used = closure(f"clew.stages.{stage}")
    for dep in _block(stage)["deps"]:
        if dep.startswith("src/"):
            path = ROOT / dep
            assert path.exists(), f"{stage}: {dep} does not exist"
            assert path in used or any(path in file.parents for file in used), f"{stage} does not use {dep}"
    assert "requirements.lock" in _block(stage)["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_sections_that_a_stage_takes_are_the_params_it_declares(stage: str) -> None:
    arguments = set(inspect.signature(importlib.import_module(f"clew.stages.{stage}").run).parameters)
    declared = {param.split(".")[0] for param in _block(stage)["params"]}
    assert arguments - {"item"} == declared
    assert ("item" in arguments) == ("foreach" in PIPELINE["stages"][stage])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_description_and_its_own_command(stage: str) -> None:
    block = PIPELINE["stages"][stage]
    item = " ${item}" if "foreach" in block else ""
    assert _block(stage)["cmd"] == f"clew stage {stage}{item}"
    assert _block(stage)["desc"]
    assert importlib.import_module(f"clew.stages.{stage}").__doc__.startswith(f"{stage}: ")


def _outs(stage: str) -> list[str]:
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in _block(stage).get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def _is_in_git(dep: str) -> bool:
    listed = subprocess.run(["git", "ls-files", dep], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return bool(listed)


def test_every_data_dep_is_the_out_of_another_stage() -> None:
    made = [out for stage in STAGES for out in _outs(stage)]
    for stage in STAGES:
        for dep in _block(stage)["deps"]:
            if not dep.startswith(("src/", "requirements")) and not _is_in_git(dep):
                assert any(dep == out or out.startswith(f"{dep}/") for out in made), f"{stage}: nothing makes {dep}"


def _paths_used(stage: str) -> set[str]:
    """The files and folders of clew.paths that a stage's own modules name, and what it writes under its own name."""
    own = [
        SOURCE / f"clew/stages/{stage}.py",
        *[file for file in closure(f"clew.stages.{stage}") if file.stem in READERS],
    ]
    found: set[str] = set()
    for file in own:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            value = getattr(paths, node.attr, None) if node.value.id == "paths" else None
            if isinstance(value, Path):
                found.add(value.as_posix())
            if node.value.id == "ledger" and node.attr in ("write", "writer"):
                found.add(paths.ledger(stage).as_posix())
            if (node.value.id, node.attr) == ("feeding", "write"):
                found.add(paths.fed(stage).as_posix())
            if (node.value.id, node.attr) == ("paths", "ledger"):
                found.add(paths.LEDGER.as_posix())
            if (node.value.id, node.attr) == ("paths", "fed"):
                found.add(paths.FED.as_posix())
    return found - {path.as_posix() for path in VOLATILE}


READERS = {"predictions", "experiment", "features"}
"""Modules beside the stages' files that read what stages wrote."""
VOLATILE = {paths.RUNTIME, paths.LATENCY, paths.METRICS}


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_reads_and_writes_is_what_it_declares(stage: str) -> None:
    """Both ways: a path that its code names is a dep or an out (or within one, or holds one); none is declared idly."""
    used = _paths_used(stage)
    declared = [dep for dep in _block(stage)["deps"] if not dep.startswith(("src/", "requirements"))] + _outs(stage)
    declared = [path.partition("/${item}")[0] for path in declared]

    def near(one: str, other: str) -> bool:
        return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")

    undeclared = sorted(path for path in used if not any(near(path, other) for other in declared))
    assert not undeclared, f"{stage} uses these, and dvc.yaml does not say so: {undeclared}"
    idle = sorted(path for path in declared if not any(near(path, other) for other in used))
    assert not idle, f"{stage} declares these and its code does not name them: {idle}"


def test_every_ledger_is_the_out_of_the_stage_that_writes_it() -> None:
    writers = [stage for stage in STAGES if paths.ledger(stage).as_posix() in _paths_used(stage)]
    assert writers == ["align", "augment", "balance", "clean", "prepare", "reward", "select", "sft", "split"]
    assert all(paths.ledger(stage).as_posix() in _outs(stage) for stage in writers)


def test_artifacts_are_outs() -> None:
    made = {out for stage in STAGES for out in _outs(stage)} | {"models/int8"}
    assert {artifact["path"] for artifact in PIPELINE["artifacts"].values()} <= made


def test_the_closure_follows_what_it_should() -> None:
    """The checker itself: a stage's helper's helper, a package's __init__ and a function's import are found."""
    names = {str(file.relative_to(SOURCE / "clew")) for file in closure("clew.stages.clean")}
    assert {"stages/clean.py", "cleaning/__init__.py", "cleaning/label_noise.py", "rows.py", "io.py"} <= names
    assert "params.py" not in names
