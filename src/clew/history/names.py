"""Names of params and metrics as people type them, and which way a metric is better.

A metric's full name is its file and its place in it: `metrics/quality.json:aligned.stress.f1.value`. Short of that:

    stress.f1@aligned      task.metric@variant, as a person says it
    aligned.stress.f1      without the file, and without `.value` where that is its number
    f1                     the end of exactly one name, or with `*` any names
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Collection

from clew.errors import HistoryError

PARAMS = "params.yaml:"
"""May stand before a param's name, to tell it from a metric's."""
NONE = "the history has no such param or metric"
LOWER = re.compile(
    r"(?:^|_)(?:loss|error|perplexity|seconds|bytes|latency|mse|rmse|mae|wer|ppl|brier|kl|repetition|without_end)(?:_|$)"
)
"""Words in a metric's name that say that less is better."""
WHEN = {"before", "first", "best", "last", "on_full_base", "sft", "aligned"}
"""Behind a metric's name: when it was measured, or of which of two models (`loss.last`, `held_out.reward.aligned`)."""


def find(typed: str, known: Collection[str], where: str = "name") -> list[str]:
    """The full names that `typed` means: one, or with `*` as many as fit. Raises HistoryError with the nearest.

    >>> find("stress.f1@sft", ["sft.rate", "m/q.json:sft.stress.f1.value", "m/q.json:sft.stress.f1.low"])
    ['m/q.json:sft.stress.f1.value']
    """
    if typed.startswith(PARAMS):
        known = [name for name in known if not is_metric(name)]
        typed = typed.removeprefix(PARAMS)
    if typed in known and (is_metric(typed) or sum(typed in _forms(name) for name in known) == 1):
        return [typed]
    dotted = _dotted(typed)
    if "*" in typed:
        found = sorted(name for name in known if any(fnmatch.fnmatchcase(one, dotted) for one in _forms(name)))
    else:
        found = [name for name in known if typed == name or dotted in _forms(name)]
        found = found or [name for name in known if any(one.endswith(f".{dotted}") for one in _forms(name))]
        found = [name for name in found if name.endswith(".value")] or found
    if found and ("*" in typed or len(found) == 1):
        return found
    if found:
        few = ", ".join(f"`{name if is_metric(name) else PARAMS + name}`" for name in sorted(found)[:4])
        raise HistoryError(f"{len(found)} names end so", where=f"{where} `{typed[:80]}`", fix=f"Write one of: {few}.")
    shorts = {form: name for name in known for form in _forms(name)}
    near = difflib.get_close_matches(dotted[:200], sorted(shorts), n=3, cutoff=0.4) or sorted(shorts)[:3]
    hint = f"Nearest: {', '.join(f'`{name}`' for name in near)}." if near else "There are no params and no metrics."
    raise HistoryError(NONE, where=f"{where} `{typed[:80]}`", fix=hint)


def short(name: str) -> str:
    """A full name without its file and without `.value`."""
    return name.rpartition(":")[2].removesuffix(".value")


def is_metric(name: str) -> bool:
    """Whether a full name is a metric's: those have a file in front."""
    return ":" in name


def cost(name: str) -> Callable[[float], float]:
    """How bad a value of a param or metric is: the best has the least.

    Of a loss, a perplexity, bytes or seconds less is better; a fairness measure is better the nearer it is to what it
    is when nothing differs between the groups; of everything else more is better.

    >>> sorted([0.4, 0.0, -0.5], key=cost("m.json:sft.stress.pronoun.statistical_parity_difference.value"))
    [0.0, 0.4, -0.5]
    >>> min([2.5, 0.9], key=cost("metrics/sft.json:valid_loss.best"))
    0.9
    """
    from clew.history.compare.numbers import EVEN

    rest, _, metric = short(name).rpartition(".")
    if rest and metric in WHEN:
        metric = rest.rpartition(".")[2]
    if is_metric(name) and metric in EVEN:
        return lambda value: abs(value - EVEN[metric])
    if is_metric(name) and LOWER.search(metric):
        return lambda value: value
    return lambda value: -value


def _dotted(typed: str) -> str:
    """`stress.f1@aligned` as the file has it: aligned.stress.f1."""
    file, colon, rest = typed.rpartition(":")
    name, at, variant = rest.rpartition("@")
    return f"{file}{colon}{variant}.{name}" if at else typed


def _forms(name: str) -> tuple[str, ...]:
    """A full name and what may be typed for it."""
    own = name.rpartition(":")[2]
    return (name, own, *([name.removesuffix(".value"), own.removesuffix(".value")] if own.endswith(".value") else ()))
