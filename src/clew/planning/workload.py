"""What a training stage would feed: rows, tokens, steps and batches, exactly where its data lie here.

The rows are put into tokens and into their order by the functions that training itself uses. Where data/train.parquet
is not there, or of an earlier run, an estimate stands in for it, and says from what.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew.planning.memory import Batch
from clew.planning.settings import Settings

if TYPE_CHECKING:
    from clew import params

LABELLED = 0.25
"""Of a row that is not known: how much of it is taken to be its completion."""


class Workload(NamedTuple):
    """rows: of the data (of align: pairs), each fed `epochs` times. tokens: in all, without padding; None: not known.

    labelled: tokens with a loss. batches: micro-batches as they go through the model. source: where it is from.
    about: "" where these are the very rows that the stage will read, else `about` or `at most`.
    """

    rows: int | None
    tokens: int | None
    labelled: int | None
    steps: int | None
    batches: tuple[Batch, ...]
    source: str
    about: str

    @property
    def exact(self) -> bool:
        """Whether these are the very rows that the stage will read."""
        return not self.about


def sft(p: params.Params, settings: Settings, tokenizer: Any, train: Path | None, *, current: bool) -> Workload:
    """Of supervised fine-tuning. tokenizer, train: None where there are none. current: train is what sft will read."""
    if tokenizer is None or train is None:
        return from_limits(p, settings)
    from clew import rows
    from clew.training import data

    found = []
    for row in rows.read(train):
        if rows.is_unwanted(row):
            continue
        example = _encoded(data, tokenizer, row, settings.max_length)
        if example is not None:
            found.append(example)
    if not found:
        return from_limits(p, settings)
    sizes = [(len(example), len(example.completion)) for example in found]
    lengths = [size for size, _ in sizes]
    order = data.feeding_order(lengths, settings.batch, settings.epochs, p.seed, "sft.epochs")
    packs = None
    if settings.packing == "bfd":
        packs = data.pack(lengths, order, settings.max_length, data.CHUNK_BATCHES * settings.batch, p.seed)
    return _told(sizes, order, settings, 1, train, current=current, packs=packs)


def pairs(
    p: params.Params, name: str, settings: Settings, tokenizer: Any, train: Path | None, *, current: bool
) -> Workload:
    """Of `align` by dpo, or `reward`: each pair goes through the model as two rows."""
    section = getattr(p, name)
    if tokenizer is None or train is None:
        limits = from_limits(p, settings, section.tasks)
        most = section.rows if limits.rows is None else min(section.rows, limits.rows)
        return _bound(most, settings, 2, limits.source)
    from clew import rows
    from clew.training import choice, data, dpo

    def fit(row: choice.Row) -> dpo.Pair:
        return dpo.encode_pair(tokenizer, row, settings.max_length, name)

    where = f"{name}.tasks"
    chosen = choice.choose(rows.read(train), section.tasks, section.rows, choice.check_pair, fit, where).items
    found = sorted(chosen, key=len)
    order = data.feeding_order([len(one) for one in found], settings.batch, settings.epochs, p.seed, f"{name}.epochs")
    answers = [len(one.chosen.completion) + len(one.rejected.completion) for one in found]
    labelled = [0 if name == "reward" else said for said in answers]  # a reward model has no vocabulary to choose from
    sizes = [(len(one), said) for one, said in zip(found, labelled, strict=True)]
    told = _told(sizes, order, settings, 2, train, current=current)
    both = [len(one.chosen) + len(one.rejected) for one in found]
    return told._replace(tokens=sum(both[at] for at in order), labelled=sum(answers[at] for at in order))


def _encoded(data: Any, tokenizer: Any, row: Any, max_length: int) -> Any:
    try:
        return data.encode(tokenizer, row, max_length, "max_length")
    except data.TooLong:  # dropped by the stage, too
        return None


def _told(
    sizes: Sequence[tuple[int, int]],
    order: Sequence[int],
    settings: Settings,
    copies: int,
    train: Path,
    *,
    current: bool,
    packs: Sequence[Sequence[int]] | None = None,
) -> Workload:
    """sizes: (tokens, labelled tokens) of each row. copies: rows that each becomes in a batch. packs: `data.pack`."""
    sequences = [[at] for at in range(len(order))] if packs is None else packs
    batches = []
    for start in range(0, len(sequences), settings.batch):
        step = sequences[start : start + settings.batch]
        for at in range(0, len(step), settings.micro):
            held = [[sizes[order[index]] for index in sequence] for sequence in step[at : at + settings.micro]]
            lengths = [sum(size for size, _ in sequence) for sequence in held]
            labelled = sum(said for sequence in held for _, said in sequence)
            if settings.packing == "none":
                batches.append(Batch(copies * len(held), max(lengths), labelled))
            else:  # end to end in one sequence
                batches.append(Batch(1, sum(lengths), labelled))
    return Workload(
        rows=len(sizes),
        tokens=copies * sum(sizes[index][0] for index in order),
        labelled=sum(sizes[index][1] for index in order),
        steps=math.ceil(len(sequences) / settings.batch),
        batches=tuple(batches),
        source=f"the rows of {train}" if current else f"the rows of {train}, which will be made again",
        about="" if current else "about",
    )


def from_limits(p: params.Params, settings: Settings, tasks: Sequence[str] | None = None) -> Workload:
    """At most what `split.limits` lets into train, each row as long as `max_length`."""
    wanted = sorted(p.prepare.tasks if tasks is None else tasks)
    limited = [p.split.limits[task].train for task in wanted if task in p.split.limits]
    unlimited = [task for task in wanted if task not in p.split.limits]
    source = f"at most split.limits' rows of max_length tokens, {LABELLED:.0%} of them trained"
    if unlimited:
        source = f"rows of max_length tokens; how many is not known: no split.limits for {', '.join(unlimited)}"
    return _bound(None if unlimited else sum(limited), settings, 1, source)


def _bound(rows: int | None, settings: Settings, copies: int, source: str) -> Workload:
    longest = settings.max_length
    batch = Batch(copies * settings.micro, longest, math.ceil(copies * settings.micro * longest * LABELLED))
    if rows is None:
        return Workload(None, None, None, None, (batch,), source, "at most")
    fed = round(rows * settings.epochs)
    tokens, steps = copies * fed * longest, math.ceil(fed / settings.batch)
    many = math.ceil(fed / settings.micro)
    return Workload(rows, tokens, math.ceil(tokens * LABELLED), steps, (batch,) * many, source, "at most")
