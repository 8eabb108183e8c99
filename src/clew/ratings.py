"""Ratings become preferences: the best answer to a prompt against the worst, by the mean of the raters.

    {"prompt": "How do I sleep?", "answer": "Rest.", "rater": "ada", "rating": 5}    one record a rating
    {"prompt": "How do I sleep?", "answer": "Pray.", "rater": "ada", "rating": 1}
    → one row: completion "Rest.", rejected "Pray.", annotations [{annotator: ada, label: "completion 5"}, …]

The records of a prompt stand one after another, so that a prompt's records and no more are in memory; a prompt that
comes again further down is an error. A pair stands where its best answer's first record stood; every other record is
left out by the rule that is its reason, `rated` where its rating is in a pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from clew import chunk_rows, records, rows
from clew.chunk_rows import Job, Made
from clew.errors import DataError

GAP, FEW, SINGLE, AGAIN, RATED = "below_min_gap", "few_raters", "single_answer", "rated_twice", "rated"
DECLARED = (GAP, FEW, SINGLE, AGAIN, RATED)
"""Rules by which a record is left out that fits its mapping."""

Row = dict[str, Any]


class Agreement:
    """Krippendorff's alpha for ratings on an interval scale, from sums: no rating is kept.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D, with the squared difference as the
    metric: 1 - observed / expected disagreement over the ratings of units that two or more rated.

    >>> agreement = Agreement()
    >>> agreement.add([1, 1]); agreement.add([3, 3]); agreement.add([5])
    >>> agreement.alpha
    1.0
    """

    def __init__(self) -> None:
        self.n = 0
        self._sum = self._squares = self._observed = 0.0

    def add(self, ratings: Iterable[float]) -> None:
        """Count the ratings of one unit (an answer), one a rater."""
        values = list(ratings)
        m = len(values)
        if m < 2:
            return
        total, squares = sum(values), sum(value * value for value in values)
        self.n += m
        self._sum += total
        self._squares += squares
        self._observed += 2 * (m * squares - total * total) / (m - 1)

    @property
    def alpha(self) -> float | None:
        """1 where raters agree, 0 where they might as well draw, None where all ratings are alike."""
        expected = 2 * (self.n * self._squares - self._sum * self._sum)
        if self.n < 2 or expected <= 0:
            return None
        return 1 - (self.n - 1) * self._observed / expected


class Pairing:
    """The records of one task, prompt by prompt. prompts, pairs: counted so far."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._declared: Any = job.declared
        self._seen: set[bytes] = set()
        self.agreement = Agreement()
        self.prompts = self.pairs = 0

    def parts(self, chunks: Iterable[records.Chunk]) -> Iterator[Made]:
        """What the records of the chunks became, in their order; a prompt is whole before it is told of."""
        waiting: list[Row] = []
        key, file = None, ""
        for chunk in chunks:
            done: list[Row] = []
            if chunk.file != file:
                done += self._group(waiting)
                if done:
                    yield chunk_rows.told(file, done)
                done, waiting, key, file = [], [], None, chunk.file
            for number, record in enumerate(records.records(chunk), chunk.first):
                row = chunk_rows.row(self._job, record, chunk.file, number)
                here = key if "reason" in row else _prompt(row)
                if here != key:
                    done += self._group(waiting)
                    waiting, key = [], here
                    self._check_new(here, row)
                waiting.append(row)
            if done:
                yield chunk_rows.told(chunk.file, done)
        if waiting:
            yield chunk_rows.told(file, self._group(waiting))

    def _check_new(self, prompt: bytes | None, row: Row) -> None:
        if prompt is None or prompt in self._seen:
            raise DataError(
                "the records of a prompt do not stand one after another",
                where=f"prepare.tasks.{self._job.task}: {row['origin']['file']}, record {row['origin']['record']}",
                fix="Sort the source by its prompt.",
            )
        self._seen.add(prompt)

    def _group(self, found: list[Row]) -> list[Row]:
        """The records of one prompt, each as its row, or with the reason why it is none."""
        fit = [row for row in found if "reason" not in row]
        if not fit:
            return found
        self.prompts += 1
        answers, twice = _by_answer(fit)
        for given in answers.values():
            self.agreement.add(given.values())
        enough = {text: given for text, given in answers.items() if len(given) >= self._declared.min_raters}
        means = {text: sum(given.values()) / len(given) for text, given in enough.items()}
        best = max(means, key=means.__getitem__, default="")
        worst = min(means, key=means.__getitem__, default="")
        gap = means[best] - means[worst] if means else 0.0
        whole = FEW if len(answers) > 1 and len(means) < 2 else SINGLE if len(means) < 2 else None
        whole = whole or (GAP if gap < self._declared.min_gap else None)
        again = {id(row) for row in twice}
        told = []
        for row in found:
            if "reason" in row:
                told.append(row)
            elif whole is None and row["completion"] == best:
                told.append(self._pair(row, worst, {"completion": enough[best], "rejected": enough[worst]}))
                whole = RATED
            else:
                few = row["completion"] not in means and whole in (None, RATED)
                why = AGAIN if id(row) in again else FEW if few else whole or RATED
                told.append({**_bare(row), "reason": why, "detail": None})
        return told

    def _pair(self, row: Row, worst: str, given: dict[str, dict[str, float]]) -> Row:
        self.pairs += 1
        annotations = [
            {"annotator": rater, "label": f"{side} {rating:g}"}
            for side, ratings in given.items()
            for rater, rating in ratings.items()
        ]
        row = row | {"rejected": worst, "annotations": annotations}
        return row | {"row_id": rows.content_id(row, self._job.key)}


def _by_answer(found: list[Row]) -> tuple[dict[str, dict[str, float]], list[Row]]:
    """answer → rater → rating, and the records of a rater who rated an answer before. Raters without a name are all
    others."""
    answers: dict[str, dict[str, float]] = {}
    twice = []
    for row in found:
        given = answers.setdefault(row["completion"], {})
        (one,) = row["annotations"]
        rater = one["annotator"] or str(len(given) + 1)
        if rater in given:
            twice.append(row)
        else:
            given[rater] = float(one["label"])
    return answers, twice


def _prompt(row: Row) -> bytes:
    text = json.dumps([row["messages"], row["text"]], ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _bare(row: Row) -> Row:
    return {name: row[name] for name in ("source", "origin", "parent_ids", "row_id")}
