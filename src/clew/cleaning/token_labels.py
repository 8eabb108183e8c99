"""Tagged words whose tag is probably wrong: confident learning over tokens, as in label_noise over rows.

    tokens [in, Paris, .], tags [O, O, O]  →  word 2: O, probably B-LOC

Each token is judged by a logistic regression over it and its neighbours that has not seen its sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clew.cleaning import crossval, label_noise, terms
from clew.cleaning.finding import Context, Finding, Findings
from clew.cleaning.finding import where as positions_where
from clew.errors import DataError
from clew.ledger import rounded

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from clew.cleaning.store import Rows
    from clew.params_clean import TokenLabelsRule

TOLD = 3
"""Doubted tokens of a sentence that its detail names."""
LONGEST = 40
"""Characters of a token whose shape is looked at."""


def find(rows: Rows, rule: TokenLabelsRule, context: Context) -> Findings:
    """Rows of `rule.tasks` with a doubted tag; what happens to them follows the accuracy of the classifier by token.

    score is the lowest probability of an own tag among the row's doubted tokens; of rows without one, none is told.
    """
    found: dict[int, Finding] = {}
    figures = {}
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    for task in rule.tasks:
        where = f"clean.token_labels.tasks: {task}"
        positions = positions_where(rows, ["task", "tokens"], partial(_is_tagged, task))
        of_task = rows.take(positions, ["tokens", "tags", "cluster"])
        sentences, tags = of_task["tokens"].to_pylist(), of_task["tags"].to_pylist()
        doubts = doubted(sentences, tags, of_task["cluster"].to_pylist(), rule.folds, context.seed, where)
        action = label_noise.decided(doubts.accuracy, rule.min_accuracy, rule.otherwise)
        by_row = _by_row(doubts, [len(some) for some in sentences])
        given, starts, doubted_rows = _flat(tags), [0, *accumulate(map(len, sentences))], 0
        for row, doubtful in by_row.items():
            score = float(doubts.own[doubtful[0]])
            scores[positions[row]] = score
            if score < rule.threshold:
                below = [at for at in doubtful if doubts.own[at] < rule.threshold]
                told = [
                    f"word {at - starts[row] + 1}: {given[at]}, probably {doubts.likeliest[at]}" for at in below[:TOLD]
                ]
                told += [f"{len(below) - TOLD} more"] if len(below) > TOLD else []
                found[int(positions[row])] = Finding(action, score, rule.threshold, "; ".join(told))
                doubted_rows += 1
        figures[task] = {"n": len(sentences), "tokens": len(given), "doubted": doubted_rows} | (
            label_noise.figures_of(doubts.accuracy, action, rule.min_accuracy)
        )
    return Findings(found, scores, figures)


def _is_tagged(task: str, batch: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.equal(batch["task"], task), pc.greater(pc.list_value_length(batch["tokens"]), 0))


def _by_row(doubts: label_noise.Doubts, lengths: Sequence[int]) -> dict[int, list[int]]:
    """Row → its doubted tokens, counted through all rows, the least probable tag first."""
    row = np.repeat(np.arange(len(lengths)), lengths)
    tokens = np.flatnonzero(doubts.doubted)
    by_row: dict[int, list[int]] = {}
    for token in tokens[np.lexsort((tokens, doubts.own[tokens], row[tokens]))].tolist():
        by_row.setdefault(int(row[token]), []).append(token)
    return by_row


def doubted(
    sentences: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    clusters: Sequence[str | None],
    folds: int,
    seed: int,
    where: str,
) -> label_noise.Doubts:
    """What confident learning says of every token, one sentence after the other.

    The same as cleanlab.token_classification.filter.find_label_issues, which lays the sentences end to end, too. The
    accuracy is over tokens that are tagged or predicted to be: `O` is easily right. A tag in fewer sentences than there
    are folds cannot be learnt, and is not doubted.
    """
    from cleanlab.filter import find_label_issues

    flat = _flat(tags)
    counts = Counter(tag for some in tags for tag in set(some))
    classes = sorted(counts)
    if len(classes) < 2 or len(tags) < folds:
        raise DataError(
            f"{len(tags)} tagged rows with {len(classes)} tags are too few: it takes two tags, and a row for each fold",
            where=where,
            fix="Take the task out, or lower clean.token_labels.folds.",
        )
    rarest = [min(some, key=lambda tag: (counts[tag], tag)) for some in tags]
    index = {tag: code for code, tag in enumerate(classes)}
    codes = np.fromiter(map(index.__getitem__, flat), np.int64, len(flat))
    try:
        most = min(label_noise.MOST_TERMS, label_noise.WEIGHTS // len(classes))
        features = terms.hashed((some for sentence in sentences for some in described(sentence)), most)
    except terms.NoTerms:
        raise DataError("no two tokens are alike", where=where, fix="Take the task out.") from None
    of_sentence = crossval.folds(np.array([index[tag] for tag in rarest]), clusters, folds, seed)
    fold = np.repeat(of_sentence, [len(some) for some in tags])
    probabilities = crossval.probabilities(features, codes, fold, seed)
    known = np.array([counts[tag] >= folds for tag in classes])[codes]
    issues = known & find_label_issues(codes, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    likeliest: NDArray[np.object_] = np.array(classes, dtype=object)[probabilities.argmax(axis=1)]
    own = rounded(probabilities[np.arange(len(codes)), codes])
    told = (codes != index.get("O", -1)) | (likeliest != "O")
    of_all = crossval.accuracy(codes, probabilities)
    accuracy = crossval.accuracy(codes[told], probabilities[told])._replace(informed=of_all.informed)
    return label_noise.Doubts(issues & accuracy.informed, own, likeliest, accuracy)


def described(sentence: Sequence[str]) -> list[list[str]]:
    """What each token is known by: itself, its ends and shape, and its neighbours, two on either side.

    >>> described(["In", "Paris"])[1][:5]
    ['0=paris', 'start=par', 'end=ris', 'shape=Xx', 'case=X']
    """
    lower = ["<", "<", *(token.lower() for token in sentence), ">", ">"]
    shapes = ["", *(_shape(token) for token in sentence), ""]
    found = []
    for place in range(len(sentence)):
        at = place + 2
        found.append(
            [
                f"0={lower[at]}",
                f"start={lower[at][:3]}",
                f"end={lower[at][-3:]}",
                f"shape={shapes[place + 1]}",
                f"case={shapes[place + 1][:1]}",
                f"before={shapes[place]}",
                f"after={shapes[place + 2]}",
                *(f"{step}={lower[at + step]}" for step in (-2, -1, 1, 2)),
                f"-1,0={lower[at - 1]} {lower[at]}",
                f"0,1={lower[at]} {lower[at + 1]}",
                f"first={place == 0}",
            ]
        )
    return found


def _shape(token: str) -> str:
    """Upper case as X, lower as x, digits as 9, runs as one: `McDonald-7` is XxXx-9."""
    marked = "".join("X" if c.isupper() else "9" if c.isdigit() else "x" if c.isalpha() else c for c in token[:LONGEST])
    return re.sub(r"(.)\1+", r"\1", marked)


def _flat(lists: Sequence[Sequence[str]]) -> list[str]:
    return [one for some in lists for one in some]
