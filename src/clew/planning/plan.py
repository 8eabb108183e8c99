"""The plan: the stages that would run, and what those that train would take, on this machine or a named GPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew import params, paths
from clew.errors import DataError, ParamsError
from clew.history import blocks
from clew.history.lockfile import Artifact
from clew.planning import disk, gpus, memory, settings, stages, time, workload
from clew.planning import model as models
from clew.planning.disk import Disk
from clew.planning.gpus import Machine
from clew.planning.memory import Memory
from clew.planning.model import Model
from clew.planning.settings import Settings
from clew.planning.stages import Planned
from clew.planning.time import Time
from clew.planning.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping

TRAINING = {
    "sft": (paths.BASE, "tokens_per_second"),
    "reward": (paths.SFT, "pairs_per_second"),
    "align": (paths.SFT, "pairs_per_second"),
}
"""Stage → the model that it starts from, and the fact of its runtime record that tells its speed."""


class Training(NamedTuple):
    """What a stage that trains would take. notes: what its figures are not sure of."""

    name: str
    model: Model
    settings: Settings
    precision: str
    work: Workload
    memory: Memory
    time: Time
    notes: tuple[str, ...]


class Plan(NamedTuple):
    """stages: all that were asked about. problems: why it cannot fit; empty where it can."""

    stages: tuple[Planned, ...]
    training: tuple[Training, ...]
    machine: Machine
    disk: Disk
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def make(root: Path, wanted: Sequence[str] = (), on: str | None = None) -> Plan:
    """The plan of `dvc repro` in `root`, or of `wanted` stages alone, each as if it ran; `on`: a name of gpus.GPUS.

    Raises ParamsError for params that are wrong and for stages that there are not.
    """
    with told("reading params.yaml, dvc.lock and the files here"):
        p = params.load()
        pipeline = stages.Pipeline(root)
        planned = pipeline.stages()
    unknown = [name for name in wanted if name not in {one.name.partition("@")[0] for one in planned}]
    if unknown:
        raise ParamsError(
            f"there is no stage {', '.join(unknown)}",
            where="clew plan",
            fix=f"Stages: {', '.join(dict.fromkeys(one.name.partition('@')[0] for one in planned))}.",
        )
    machine = gpus.GPUS[on] if on else gpus.here()
    shown = tuple(one for one in planned if not wanted or one.name.partition("@")[0] in wanted)
    running = [one.name for one in shown if one.fate == "runs" or wanted]
    found, notes = [], []
    for name in [name for name in running if name in TRAINING and getattr(getattr(p, name), "enabled", True)]:
        if lacking := _not_estimated(p, name):
            notes.append(f"{name}: what {lacking} takes is not estimated")
            continue
        with told(f"putting the rows of {name} into tokens"):
            one = _training(root, p, name, pipeline, planned, machine)
        if one is None:
            notes.append(f"{name}: {TRAINING[name][0]} is neither here nor in DVC's cache; run `dvc repro fetch_model`")
        else:
            found.append(one)
    written = disk.estimate(root, running, pipeline.locked, {one.name: (one.model, one.settings) for one in found})
    return Plan(shown, tuple(found), machine, written, tuple(notes), tuple(_problems(found, machine, written)))


def _not_estimated(p: params.Params, name: str) -> str:
    """What a section asks for that there is no estimate of; "" where there is one."""
    if (config := getattr(p, name).launch) is not None:
        return f"training as configs/{config}.yaml has it launched"
    if name == "align" and p.align.algorithm != "dpo":
        return f"{p.align.algorithm}, which draws or rates answers in between,"
    kind = getattr(getattr(p, "model", None), "kind", "decoder")
    return "" if kind == "decoder" else f"training an {kind}"


def _problems(training: Sequence[Training], machine: Machine, written: Disk) -> Iterator[str]:
    for one in training:
        if one.memory.peak > machine.memory:
            yield (
                f"{one.name} needs about {size(one.memory.peak)} of memory at its peak, and {machine.name} has"
                f" {size(machine.memory)}: lower {one.name}.micro_batch_size or {one.name}.max_length"
            )
    if written.needed > written.free:
        yield f"about {size(written.needed)} will be written, and {size(written.free)} of disk are free"


def size(count: float) -> str:
    """Bytes for people: 8.8 GB, 640 MB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}" if count < 10 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _training(
    root: Path, p: params.Params, name: str, pipeline: stages.Pipeline, planned: Sequence[Planned], machine: Machine
) -> Training | None:
    section = getattr(p, name)
    fates = {one.name: one.fate for one in planned}
    model, folder = _model(root, name, pipeline)
    if model is None or folder is None:
        return None
    own = settings.of(section, model, name)
    precision = gpus.precision(own.precision, machine)
    notes = []
    makes = "fetch_model" if folder == paths.BASE else "sft"
    if fates.get(makes) == "runs" and not (makes == "sft" and folder == paths.SFT):
        notes.append(f"{folder} will be made again: its sizes now are taken")
    train = paths.TRAIN if (root / paths.TRAIN).is_file() else _cached(pipeline, paths.TRAIN)
    train = train if train is not None and _is_of_this_version(train) else None
    tokenizer = _tokenizer(folder) if train is not None and (root / folder / "tokenizer.json").is_file() else None

    def count(own: Settings) -> Workload:
        if name == "sft":
            return workload.sft(p, own, tokenizer, train, current=current)
        return workload.pairs(p, name, own, tokenizer, train, current=current)

    current = fates.get("balance") != "runs"
    work = count(own)
    if section.micro_batch_size == "auto":
        own = own._replace(micro=_settled(section, root / folder, name, work, own, precision, machine))
        work = count(own)
    needed = memory.estimate(model, own, work.batches, machine.kind, precision)
    earlier = _finished(root, p, name, pipeline, model, own, work, machine)
    passes = 1 if name == "align" else 0
    takes = time.estimate(model, own, work, machine, precision=precision, passes=passes, finished=earlier)
    return Training(name, model, own, precision, work, needed, takes, tuple(notes))


def _settled(
    section: params.Optimisation,
    folder: Path,
    name: str,
    work: Workload,
    own: Settings,
    precision: str,
    machine: Machine,
) -> int:
    """The rows at a time that training itself takes for `auto` (`training.memory.settle`), were it on this machine."""
    from clew.training import device
    from clew.training import memory as deciding

    where = device.Device("cuda" if machine.kind == "gpu" else "cpu", precision, own.attention)
    packed = getattr(section, "packing", "none") == "bfd"
    longest = section.max_length if packed else max(b.tokens for b in work.batches) * (1 if name == "sft" else 2)
    rows = own.batch
    while rows % 2 == 0 and deciding.peak(section, folder, rows * longest, where) > deciding.SHARE * machine.memory:
        rows //= 2
    return rows


def _model(root: Path, name: str, pipeline: stages.Pipeline) -> tuple[Model | None, Path | None]:
    """The model that a stage starts from and its folder; before sft ran, align's is of the sizes of the base model."""
    made: dict[str, Artifact] = {out.path: out for stage in pipeline.locked.values() for out in stage.outs}
    for folder in dict.fromkeys((TRAINING[name][0], paths.BASE)):
        found = models.read(root / folder, pipeline.store, made.get(folder.as_posix()))
        if found is not None:
            return found, folder
    return None, None


def _cached(pipeline: stages.Pipeline, path: Path) -> Path | None:
    made = [out for stage in pipeline.locked.values() for out in stage.outs if out.path == path.as_posix()]
    return pipeline.store.find(made[0].md5) if made else None


def _tokenizer(folder: Path) -> Any:
    from clew.training import device

    return device.load_tokenizer(folder)


def _finished(
    root: Path,
    p: params.Params,
    name: str,
    pipeline: stages.Pipeline,
    model: Model,
    own: Settings,
    work: Workload,
    machine: Machine,
) -> time.Finished | None:
    """What an earlier run of the stage managed on this machine: what it fed is in its metrics."""
    if machine.kind != "cpu" or work.tokens is None:
        return None
    from clew import runtime

    metrics = _json(root / paths.METRICS / f"{name}.json")
    fed = metrics.get("tokens_fed") if name == "sft" else (metrics.get("pairs") or {}).get("fed")
    ours = work.tokens if name == "sft" else round((work.rows or 0) * own.epochs)
    if not fed or not ours:
        return None
    then = _as_it_ran(p, name, pipeline, model) or own
    operations = time.flops(model, then, work.batches, forward_again=int(name == "align")) * fed / ours
    place = paths.RUNTIME / f"{name}.json"
    return time.finished(root / place, runtime.hardware(), operations, fed, TRAINING[name][1], place.as_posix())


def _as_it_ran(p: params.Params, name: str, pipeline: stages.Pipeline, model: Model) -> Settings | None:
    """The settings that the stage last ran with, by dvc.lock; None where this version of clew cannot read them."""
    try:
        ran = blocks.load(pipeline.locked[name].params)["params.yaml"][name]
        return settings.of(type(getattr(p, name)).model_validate_json(json.dumps(ran)), model, name)
    except (KeyError, TypeError, ValueError, ParamsError):
        return None


def _is_of_this_version(train: Path) -> bool:
    from clew import io, rows

    try:
        io.open_parquet(train, rows.SCHEMA)
    except DataError:
        return False
    return True


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say on a terminal what is being done, until it is done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{what} …")
        sys.stderr.flush()
    try:
        yield
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + " " * (len(what) + 2) + "\r")
