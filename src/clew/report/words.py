"""Numbers as people read them, and the plain words for metrics, rules and verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

NARROW = "\u202f"  # a narrow space that does not break
Kind = Literal["share", "score", "plain", "bytes", "count"]


class Metric(NamedTuple):
    """How a metric is called, written and judged."""

    label: str
    kind: Kind
    means: str
    lower_is_better: bool = False


METRICS = {
    "accuracy": Metric("accuracy", "share", "share of answers that are right"),
    "f1": Metric("macro-F1", "share", "F1 of each answer, averaged: guessing one answer always scores low"),
    "exact_match": Metric("exact match", "share", "share of rows whose labels are all right, and no other is given"),
    "micro_f1": Metric("micro-F1", "share", "F1 over all labels of all rows"),
    "macro_f1": Metric("macro-F1", "share", "F1 of each label, averaged: rare labels count as much as common ones"),
    "entity_f1": Metric("entity F1", "share", "F1 over entities: right are type and both ends"),
    "entity_precision": Metric("entity precision", "share", "share of predicted entities that are right"),
    "entity_recall": Metric("entity recall", "share", "share of real entities that are found"),
    "auc": Metric("AUC", "share", "chance that a random yes is scored above a random no; 50 % is guessing"),
    "bleu": Metric("BLEU", "score", "word sequences shared with the wanted text, 0 to 100"),
    "chrf": Metric("chrF", "score", "character sequences shared with the wanted text, 0 to 100"),
    "rouge_l": Metric("ROUGE-L", "score", "longest common word sequence with the wanted text"),
    "log_loss": Metric("log loss", "plain", "surprise at the right choice, in nats", lower_is_better=True),
    "perplexity": Metric("perplexity", "plain", "surprise at the wanted words; 1 is none", lower_is_better=True),
    "size_bytes": Metric("size on disk", "bytes", "all files of the model", lower_is_better=True),
}
"""The metrics that have words of their own; any other is shown under its name as a plain number."""


def metric(name: str) -> Metric:
    """The words for a metric; an unknown one keeps its name. `entity_f1_person` is the entity F1 of persons."""
    of_all = next((known for known in METRICS if known.startswith("entity_") and name.startswith(f"{known}_")), None)
    if of_all:
        kind = name.removeprefix(f"{of_all}_")
        return METRICS[of_all]._replace(label=f"{METRICS[of_all].label} of {kind}", means="")
    return METRICS.get(name) or Metric(name.replace("_", " "), "plain", "")


def number(value: float | None, kind: Kind = "plain") -> str:
    """A number as text; "–" for none.

    >>> number(0.695, "share"), number(-12.345), number(1234567, "count")
    ('69.5\\u202f%', '−12.3', '1\\u202f234\\u202f567')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if kind == "bytes":
        return _signed(value, size(abs(value))).removeprefix("+")
    shown = {"share": f"{abs(100 * value):.1f}", "score": f"{abs(value):.1f}"}
    shown["count"] = f"{abs(value):,.0f}".replace(",", NARROW)
    unit = NARROW + "%" if kind == "share" else ""
    return _signed(value, shown.get(kind) or _plain(abs(value))).removeprefix("+") + unit


def difference(value: float | None, kind: Kind = "plain") -> str:
    """A difference with its sign; shares in points (per cent of the whole).

    >>> difference(0.175, "share"), difference(-0.02), difference(-0.00001, "share")
    ('+17.5 points', '−0.02', '0.0 points')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if kind == "share":
        return _signed(value, f"{abs(100 * value):.1f}") + " points"
    shown = {"score": f"{abs(value):.1f}", "bytes": size(abs(value))}
    return _signed(value, shown.get(kind) or _plain(abs(value)))


def _signed(value: float, shown: str) -> str:
    """The sign of a value before its size as shown; none before what is shown as zero."""
    if not any(digit in shown for digit in "123456789"):
        return shown
    return ("+" if value > 0 else "−") + shown


def _plain(size: float) -> str:
    """Three digits that count, at most three after the point, none of them for show; of a size >= 0."""
    if size < 0.0005:
        return "0"
    digits = max(0, min(3, 2 - math.floor(math.log10(size))))
    text = f"{size:,.{digits}f}".replace(",", NARROW)
    return text.rstrip("0").rstrip(".") if digits == 3 else text


def size(value: float) -> str:
    """Bytes in decimal units, as disks are sold.

    >>> size(270_400_000), size(512)
    ('270\\u202fMB', '512\\u202fB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            shown = value / factor
            return f"{shown:.{0 if shown >= 100 else 1}f}{NARROW}{unit}"
    return f"{value:.0f}{NARROW}B"


def duration(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> duration(7.24), duration(254)
    ('7.2\\u202fs', '4\\u202fmin 14\\u202fs')
    """
    if seconds < 60:
        return f"{seconds:.1f}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    short = f"{minutes}{NARROW}min {rest}{NARROW}s"
    return f"{hours}{NARROW}h {minutes}{NARROW}min" if hours else short


def p_value(value: float | None) -> str:
    """A p-value as journals print it.

    >>> p_value(0.0312), p_value(0.0002)
    ('p\u202f=\u202f0.031', 'p\u202f<\u202f0.001')
    """
    if value is None:
        return ""
    said = "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"
    return said.replace(" ", NARROW)


def interval(entry: Mapping[str, Any], kind: Kind = "plain") -> str:
    """ "62.9 to 75.8 %", or "" where there is no interval."""
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return ""
    first, last = number(low, kind), number(high, kind)
    if kind == "share":
        first = first.removesuffix(NARROW + "%")
    return f"{first} to {last}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """A list as a sentence has it.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def plural(n: float, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "row"), plural(2400, "row")
    ('1 row', '2\\u202f400 rows')
    """
    shown = number(n, "count" if n == int(n) else "plain")
    return f"{shown} {one if n == 1 else many or one + 's'}"


def plain_name(name: str) -> str:
    """A name from params.yaml as words."""
    return name.replace("_", " ")


def difference_interval(entry: Mapping[str, Any], kind: Kind = "plain") -> str:
    """The bounds of a difference, signed, without their unit: "+10.9 to +24.1"."""
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return ""
    return " to ".join(difference(bound, kind).removesuffix(" points") for bound in (low, high))


def points(value: float | None) -> str:
    """A share as points, without a sign of its own: 0.0756 → "7.6"."""
    return "–" if value is None or not math.isfinite(value) else number(value, "share").removesuffix(NARROW + "%")


def points_interval(entry: Mapping[str, Any]) -> str:
    """The bounds of such a share: "2.6 to 26.1"."""
    low, high = entry.get("low"), entry.get("high")
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def quoted(text: str) -> str:
    """Names between backticks, as our messages have them, between quotation marks.

    >>> quoted("no row of `he`")
    'no row of “he”'
    """
    return re.sub(r"`([^`]*)`", r"“\1”", text)
