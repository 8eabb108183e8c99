"""Metrics of tagged words by entity, as seqeval (and the conlleval script of CoNLL-2000) counts them.

An entity is right where its type and both its ends are. seqeval finds the entities of each row; rows are counted by
type, so that an interval costs a matrix product for each metric.

    {"tags": ["B-PER", "I-PER", "O", "B-LOC"], "predicted": ["B-PER", "O", "O", "B-LOC"], …}
    → PER: 1 right one, 1 predicted, none hit; LOC: 1, 1, 1 hit
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clew.evaluation.intervals import Array, Metric
from clew.evaluation.predictions import Row

Maker = Callable[[Sequence[Row]], Metric | str]
SIGNATURE = "seqeval 1.2.2, default mode"
"""What another must use to get the same numbers."""


@dataclass(frozen=True)
class Counted:
    """Entities of each row by type, shape (rows, types): right ones, predicted ones, and those that are both."""

    actual: Array
    predicted: Array
    hits: Array


def table(rows: Sequence[Row]) -> Mapping[str, Maker]:
    """Precision, recall and F1 over all entities and, under `…_<type>`, of each type that a row really has."""
    makers: dict[str, Maker] = {}
    for kind in (None, *types(rows)):
        ending = "" if kind is None else f"_{kind}"
        for name, maker in (("f1", _f1), ("precision", _precision), ("recall", _recall)):
            makers[f"entity_{name}{ending}"] = _of(kind, maker)
    return makers


def types(rows: Sequence[Row]) -> list[str]:
    """The types of the entities that the rows really have, sorted."""
    return sorted({kind for row in rows for kind, _, _ in spans(row["tags"])})


def spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """(type, first word, last word) of the entities, by seqeval; BIO, BIOES, BILOU or bare types.

    >>> sorted(spans(["B-PER", "I-PER", "O", "U-LOC", "MISC"]))
    [('LOC', 3, 3), ('MISC', 4, 4), ('PER', 0, 1)]
    """
    from seqeval.metrics.sequence_labeling import get_entities

    return set(get_entities([_as_bioes(tag) for tag in tags]))


def _as_bioes(tag: str) -> str:
    if tag in ("O", ""):
        return "O"
    if tag[1:2] == "-" and tag[0] in "BIESLU":
        return {"L": "E", "U": "S"}.get(tag[0], tag[0]) + tag[1:]
    return f"I-{tag}"


def count(rows: Sequence[Row], kinds: Sequence[str]) -> Counted:
    """The entities of `kinds` in each row; with no kinds, of all types together, in one column."""
    place = {kind: column for column, kind in enumerate(kinds)}
    found = np.zeros((3, len(rows), max(1, len(kinds))))
    for number, row in enumerate(rows):
        actual, predicted = spans(row["tags"]), spans(row["predicted"])
        for counted, entities in zip(found, (actual, predicted, actual & predicted), strict=True):
            for kind, _, _ in entities:
                if not kinds or kind in place:
                    counted[number, place.get(kind, 0)] += 1
    return Counted(*found)


def _of(kind: str | None, metric: Callable[[Array, Array, Array], Array]) -> Maker:
    def maker(rows: Sequence[Row]) -> Metric | str:
        counted = count(rows, [] if kind is None else [kind])
        if not counted.actual.any():
            return "no row has an entity" if kind is None else f"no row has an entity of type {kind}"
        actual, predicted, hits = (column[:, 0] for column in (counted.actual, counted.predicted, counted.hits))
        return lambda counts: metric(counts @ actual, counts @ predicted, counts @ hits)

    return maker


def _precision(actual: Array, predicted: Array, hits: Array) -> Array:  # noqa: ARG001
    """0 where nothing is predicted, as seqeval has it."""
    return np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)


def _recall(actual: Array, predicted: Array, hits: Array) -> Array:  # noqa: ARG001
    """Not defined (NaN) in a resample without an entity."""
    return np.asarray(hits / actual)


def _f1(actual: Array, predicted: Array, hits: Array) -> Array:
    return np.asarray(2 * hits / (actual + predicted))
