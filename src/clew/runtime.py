"""What surrounds a stage: one environment, one life with `dvc repro`, one record of what it took.

    metrics/runtime/sft.json: {"stage": "sft", "seconds": 164.2, "peak_memory_bytes": 5123416064,
     "hardware": {"cpu": "…", "cores": 2, "gpu": null}, "versions": {"torch": "2.13.0"}, "outs": {"models/sft": …}}

The record is volatile, so it is in git but no stage depends on it; the digests of what the stage made tell whether
it still speaks of the files that lie there.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import os
import pkgutil
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import reduce
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from clew import io, launch, params, paths, process, stages
from clew.errors import ParamsError, SetupError

ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # sets in libraries are written in one order
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore::FutureWarning",  # libraries talking to each other; the lock holds their versions
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on NVIDIA
    # Page faults halve the speed of training on a CPU; glibc keeps freed memory and uses huge pages instead.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Only the fetch stages may use the network."""

LEAKS = (
    *("ACCELERATE_", "FSDP_", "DEEPSPEED_", "TORCHDYNAMO_", "TRL_"),
    "CLEW_LAUNCHED",  # what a stage tells the processes that it starts
    *("ATEN_", "MKL_", "ONEDNN_", "DNNL_"),  # which kernels multiply: other ones round differently
)
"""Variables that change what is trained without a word in params.yaml: not passed on to a stage."""

VERSIONS = (
    "clew",
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "cleanlab",
    "aif360",
    "dvc",
    "torchao",
    "numpy",
)
MADE = (":!metrics", ":!dvc.lock")
"""What stages themselves change in git."""

NOISY = ("torchao", "torch.utils._pytree", "bitsandbytes.backends.cpu.ops")
"""Loggers that complain, on every import, of GPU kernels that were not built and of each other."""


def run_stage(name: str, item: str | None) -> None:
    """Run `stages/<name>.py` with the params sections that its arguments name, and write its record.

    Raises a ClewError for what the user can mend. The process is replaced once by itself with ENVIRONMENT, which
    the C library and Python read only at their start.
    """
    process.die_with_parent()
    _enter_environment(fetches=name.startswith("fetch_"))
    process.die_with_parent()  # again: what watched the parent ended with the program that it was part of
    quieten()
    _check_repository()
    function, arguments = stage_call(name, item)
    started = time.time()
    before = _declared(name), arguments
    config = next((found for section in arguments.values() if (found := _launched(section))), None)
    if config is None:
        facts, computer = function(**arguments), hardware()
    else:
        asked, place = launch.read(config)
        told = launch.run(name, asked, place)
        if place.rank > 0:
            return  # the main machine writes
        facts, computer = told["facts"] | {"launch": asdict(asked)}, told["hardware"]
    _check_unchanged(*before, _declared(name), _arguments(name, function, params.load(), item))
    _write_record(name, item, started, facts, computer)


def quieten() -> None:
    """Have libraries keep to themselves what no user can mend."""
    for logger in NOISY:
        logging.getLogger(logger).setLevel(logging.ERROR)


def stage_call(name: str, item: str | None) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """A stage's function, and its arguments by params.yaml."""
    function = _stage(name)
    p = params.load()
    arguments = _arguments(name, function, p, item)
    _check_item(name, item, p)
    return function, arguments


def _launched(section: Any) -> str | None:
    """The configuration under which a section has its stage launched, where it trains."""
    trains = isinstance(section, params.Optimisation) and getattr(section, "enabled", True)
    return section.launch if trains else None


def _enter_environment(*, fetches: bool) -> None:
    """Start this process again in the one environment, whatever the user's own is, unless it is already in it."""
    wanted = ENVIRONMENT if fetches else {**ENVIRONMENT, **OFFLINE}
    leaks = [name for name in os.environ if name.startswith(LEAKS)]
    if leaks or any(os.environ.get(name) != value for name, value in wanted.items()):
        kept = {name: value for name, value in os.environ.items() if name not in leaks}
        os.execve(sys.executable, sys.orig_argv, {**kept, **wanted})


def _stage(name: str) -> Callable[..., dict[str, Any]]:
    names = sorted(module.name for module in pkgutil.iter_modules(stages.__path__))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise ParamsError(
            f"there is no stage `{name}`" + (f"; did you mean `{near[0]}`?" if near else ""),
            where="clew stage",
            fix=f"Stages: {', '.join(names)}.",
        )
    function: Callable[..., dict[str, Any]] = importlib.import_module(f"clew.stages.{name}").run
    return function


def _check_repository() -> None:
    done = _run_git("rev-parse", "--git-dir")
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0].removeprefix("fatal: ")
        raise SetupError(
            f"git finds no repository here ({said})",
            where=Path.cwd().name,
            fix="clew keeps its history in git: run `git init`, `dvc init` and commit, or clone the experiment.",
        )


def _git(*arguments: str) -> str | None:
    done = _run_git(*arguments)
    return done.stdout.strip() if done.returncode == 0 else None


def _run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SetupError("git is not installed", where="PATH", fix="Install git.") from None


def _arguments(name: str, function: Callable[..., Any], p: params.Params, item: str | None) -> dict[str, Any]:
    names = list(inspect.signature(function).parameters)
    if ("item" in names) != (item is not None):
        needs = "needs an item" if item is None else "takes no item"
        raise ParamsError(f"stage {name} {needs}", where="clew stage", fix="See dvc.yaml for how it is called.")
    values = {section: getattr(p, section) for section in names if section != "item"}
    return values | ({"item": item} if item is not None else {})


def _check_item(name: str, item: str | None, p: params.Params) -> None:
    """Refuse an item that params.yaml does not list for this fan-out."""
    over = str(_stages().get(name, {}).get("foreach", ""))  # such as ${predict.variants}
    if item is None or not over.startswith("${"):
        return
    valid = reduce(getattr, over[2:-1].split("."), cast("Any", p))
    if item not in valid:
        raise ParamsError(
            f"`{item}` is none of {over[2:-1]}", where=f"clew stage {name}", fix=f"Items: {', '.join(valid)}."
        )


def _declared(stage: str) -> dict[str, str]:
    """Digests of what DVC will name in dvc.lock as the cause of this stage's outs: its code and its versions."""
    found = {}
    for dep in (dep for dep in deps(stage) if dep.startswith(("src/", "requirements", "configs"))):
        files = [Path(dep)] if Path(dep).is_file() else sorted(Path(dep).rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found[str(file)] = io.sha256(file)
    return found


def _check_unchanged(
    code: dict[str, str], sections: dict[str, Any], code_now: dict[str, str], sections_now: dict[str, Any]
) -> None:
    """DVC reads code and params when a stage has ended: an edit in between would be recorded as what made its outs."""
    changed = sorted(name for name in code.keys() | code_now.keys() if code.get(name) != code_now.get(name))
    changed += [f"params.yaml: {name}" for name, section in sections.items() if section != sections_now[name]]
    if changed:
        raise SetupError(
            "changed while the stage was running, so dvc.lock would name what did not make its outs",
            where=", ".join(changed),
            fix="Run `dvc repro` again and leave these alone until it ends (`git worktree` gives you another copy).",
        )


def _write_record(name: str, item: str | None, started: float, facts: dict[str, Any], computer: dict[str, Any]) -> None:
    stage = f"{name}@{item}" if item else name
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    record = {
        "stage": stage,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 2),
        "peak_memory_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        "who": _git("config", "user.name"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *MADE)),
        "hardware": computer,
        "versions": versions(),
        "not_as_locked": not_as_locked(),
        "facts": facts,
        "outs": {out: io.tree_sha256(Path(out)) for out in outs(stage) if Path(out).exists()},
    }
    io.write_json(paths.RUNTIME / f"{stage}.json", record)


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in bytes, and the GPU where torch was used and sees one."""
    import psutil

    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    return {
        "cpu": cpu,
        "cores": len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": gpu,
        "gpu_peak_memory_bytes": torch.cuda.max_memory_allocated() if torch is not None and gpu else None,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what comes out."""
    found = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def not_as_locked(lock: Path = Path("requirements.lock")) -> dict[str, str]:
    """Packages installed in another version than `lock` says: name → "installed, not locked"."""
    differ = {}
    lines = lock.read_text().splitlines() if lock.exists() else []
    for line in lines:
        name, pinned, version = line.partition(";")[0].strip().partition("==")
        if not pinned or name.startswith("#"):
            continue
        try:
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            installed = "none"
        if installed != version.strip():
            differ[name] = f"{installed}, not {version.strip()}"
    return differ


def outs(stage: str, file: Path = Path("dvc.yaml")) -> list[str]:
    """The paths that dvc.yaml declares as outs, metrics and plots of a stage such as `sft` or `predict@base`."""
    return _paths(stage, ("outs", "metrics", "plots"), file)


def deps(stage: str, file: Path = Path("dvc.yaml")) -> list[str]:
    """The paths that dvc.yaml declares as dependencies of a stage."""
    return _paths(stage, ("deps",), file)


def _paths(stage: str, kinds: tuple[str, ...], file: Path) -> list[str]:
    name, _, item = stage.partition("@")
    block = _stages(file).get(name, {})
    block = block.get("do", block)
    entries = [entry for kind in kinds for entry in block.get(kind, [])]
    named = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    return [path.replace("${item}", item) for path in named]


def _stages(file: Path = Path("dvc.yaml")) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        declared = YAML(typ="safe").load(file.read_text()) if file.exists() else {}
    except YAMLError as error:
        problem = " ".join(str(error).split())[:120]
        raise SetupError(f"not valid YAML: {problem}", where=str(file), fix="`git diff dvc.yaml` shows why.") from None
    found: dict[str, Any] = declared.get("stages", {})
    return found
