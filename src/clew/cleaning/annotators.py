"""Rows that several people labelled: the label becomes their consensus, in which better annotators count for more.

CROWDLAB (Goh, Tkachenko and Mueller, 2022, arXiv:2210.06812) by cleanlab.multiannotator: annotators and a classifier
that is trained on what most of them say vote together, each weighted by how far it is to be trusted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clew.cleaning import crossval, label_noise, review
from clew.cleaning.finding import Context, Finding, Findings
from clew.cleaning.finding import where as positions_where
from clew.errors import DataError
from clew.ledger import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import AnnotatorsRule

CELLS = 2 * 10**8
"""Rows times annotators, at most: each has a number in memory, given or not."""


class Given(NamedTuple):
    """Who gave which label. labels (n, annotators): codes of `classes` as floats, NaN where an annotator gave none."""

    labels: NDArray[np.float64]
    annotators: list[str]
    classes: list[str]


def find(rows: Rows, rule: AnnotatorsRule, context: Context) -> Findings:
    """Rows of `rule.tasks` whose label is not the consensus are mended; those of a doubtful consensus meet a fate.

    score is the quality of the consensus: how probable it is that it is right.
    """
    found: dict[int, Finding] = {}
    figures = {}
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    for task in rule.tasks:
        where = f"clean.annotators.tasks: {task}"
        positions = positions_where(rows, ["task", "annotations"], partial(_is_annotated, task))
        of_task = rows.take(positions, ["annotations", "text", "label", "completion", "rejected", "cluster"])
        label_noise.check_known(of_task["label"].to_pylist(), where)
        given = _given(of_task["annotations"].combine_chunks(), of_task["label"].to_pylist(), where)
        consensus, quality, told = _consensus(of_task, given, rule.folds, context, where)
        scores[positions] = quality
        by_index = _findings(of_task, consensus, quality, rule)
        found |= {int(positions[index]): finding for index, finding in by_index.items()}
        figures[task] = told | {
            "n": len(positions),
            "mended": sum(finding.action == "fix" for finding in by_index.values()),
            "doubtful": sum(finding.action != "fix" for finding in by_index.values()),
        }
    return Findings(found, scores, figures)


def _is_annotated(task: str, batch: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.equal(batch["task"], task), pc.greater(pc.list_value_length(batch["annotations"]), 0))


def _given(annotations: pa.ListArray, labels: list[str], where: str) -> Given:
    """The annotations (n lists of {annotator, label}) as a matrix; raises DataError where there is nothing to weigh."""
    flat, row = pc.list_flatten(annotations), pc.list_parent_indices(annotations).to_numpy()
    names = sorted(set(pc.unique(flat.field("annotator")).to_pylist()))
    classes = sorted({*pc.unique(flat.field("label")).to_pylist(), *labels})
    if len(annotations) * len(names) > CELLS:
        raise DataError(
            f"{len(annotations):,} rows times {len(names):,} annotators are more than {CELLS:,}",
            where=where,
            fix="Give annotators of few rows one name, or take the task out.",
        )
    if len(row) == len(np.unique(row)):
        what = "no row has the labels of two annotators" if len(row) else "no row has annotations"
        raise DataError(what, where=where, fix="Map them under prepare (`annotations`), or take the task out.")
    matrix = np.full((len(annotations), len(names)), np.nan)
    column = pc.index_in(flat.field("annotator"), value_set=pa.array(names)).to_numpy()
    matrix[row, column] = pc.index_in(flat.field("label"), value_set=pa.array(classes)).to_numpy()
    return Given(matrix, names, classes)


def _consensus(
    rows: pa.Table, given: Given, folds: int, context: Context, where: str
) -> tuple[list[str], NDArray[np.float64], dict[str, Any]]:
    """The consensus label of each row, its quality (n,), and figures of the annotators."""
    from cleanlab.multiannotator import get_label_quality_multiannotator

    clusters = rows["cluster"].to_pylist()
    codes = _majority(given, rows["label"].to_pylist())
    label_noise.check([given.classes[code] for code in codes], clusters, folds, where, "clean.annotators.folds")
    vectors = label_noise.features_of(rows["text"].fill_null("").to_pylist(), len(given.classes), context, where)
    fold = crossval.folds(codes, clusters, folds, context.seed)
    probabilities = np.zeros((len(codes), len(given.classes)))
    some = crossval.probabilities(vectors, codes, fold, context.seed)
    probabilities[:, : some.shape[1]] = some
    found = get_label_quality_multiannotator(given.labels, probabilities, return_detailed_quality=False, verbose=False)
    people = found["annotator_stats"].sort_index()
    told = {
        "accuracy": crossval.accuracy(codes, probabilities).true,
        "alpha": alpha(given.labels),
        "annotators": {
            name: {"n": int(n), "quality": float(quality), "agreement": float(agreement)}
            for name, n, quality, agreement in zip(
                given.annotators,
                people["num_examples_labeled"],
                people["annotator_quality"],
                people["agreement_with_consensus"],
                strict=True,
            )
        },
    }
    best = found["label_quality"]
    return (
        [given.classes[int(c)] for c in best["consensus_label"]],
        rounded(best["consensus_quality_score"].to_numpy()),
        told,
    )


def _majority(given: Given, labels: list[str]) -> NDArray[np.int64]:
    """The code of the label that most give (n,); of a tie the row's own where it is among them, else the first."""
    counts = np.stack([(given.labels == code).sum(axis=1) for code in range(len(given.classes))], axis=1).astype(float)
    own = {label: code for code, label in enumerate(given.classes)}
    counts[np.arange(len(labels)), [own[label] for label in labels]] += 0.5
    most: NDArray[np.int64] = counts.argmax(axis=1)
    return most


def _findings(
    rows: pa.Table, consensus: list[str], quality: NDArray[np.float64], rule: AnnotatorsRule
) -> dict[int, Finding]:
    labels, completions, rejected = (rows[name].to_pylist() for name in ("label", "completion", "rejected"))
    found = {}
    for index, (label, new) in enumerate(zip(labels, consensus, strict=True)):
        score = float(quality[index])
        if score < rule.threshold:
            detail = f"consensus {new} of quality {score:.2f}"
            found[index] = Finding(rule.otherwise, score, rule.threshold, detail)
        elif label != new:
            row = {"label": label, "labels": None, "completion": completions[index], "rejected": rejected[index]}
            changes = review.relabelled(row, new)
            found[index] = Finding("fix", score, rule.threshold, f"{label} → {new}", changes=changes)
    return found


def alpha(labels: NDArray[np.float64]) -> float | None:
    """Krippendorff's alpha for nominal data: 1 where annotators agree, 0 where they might as well draw.

    labels: (n, annotators), NaN where none. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C:
    1 - (observed / expected) disagreement over the labels of rows that two or more labelled. None where all are alike.
    """
    classes = np.unique(labels[~np.isnan(labels)])
    counts = np.stack([(labels == code).sum(axis=1) for code in classes], axis=1).astype(float)
    counts = counts[counts.sum(axis=1) > 1]
    by_row, by_class = counts.sum(axis=1), counts.sum(axis=0)
    total = by_row.sum()
    expected = total**2 - (by_class**2).sum()
    if not expected:
        return None
    observed = ((by_row**2 - (counts**2).sum(axis=1)) / (by_row - 1)).sum()
    return float(1 - (total - 1) * observed / expected)
