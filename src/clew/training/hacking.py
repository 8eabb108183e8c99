"""Reward hacking: the reward rises because answers got longer, repeat themselves or became all alike.

Step(step=40, reward=1.9, kl=.2, length=58.0, repetition=.41, distinct=.22)  against the first steps' means
→ ["the reward rose from 0.4 to 1.9 while answers grew from 21 to 58 tokens: …"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from clew import params_training as params

DISTINCT_N, REPEATED_N = 2, 3
"""n of distinct-n (over the answers of a step) and of the n-grams that repeat within an answer, in tokens."""


class Step(NamedTuple):
    """Means over a step's answers. length: tokens. kl: by token, in nats."""

    step: int
    reward: float
    kl: float
    length: float
    repetition: float
    distinct: float


def distinct(answers: Sequence[Sequence[Any]], n: int) -> float:
    """Different n-grams of all answers by all their n-grams (distinct-n, Li et al., 2016, arXiv:1510.03055).

    >>> distinct(["abab", "ab"], 2)
    0.5
    """
    grams = [gram for answer in answers for gram in zip(*(answer[offset:] for offset in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else 1.0


def steps_of(history: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps that a trainer logged (transformers' log history, with `rollouts/*` as `online` logs it)."""
    return [
        Step(
            int(entry["step"]),
            float(entry["reward"]),
            float(entry["kl"]),
            float(entry["completions/mean_length"]),
            float(entry["rollouts/repetition"]),
            float(entry["rollouts/distinct"]),
        )
        for entry in history
        if entry.get("reward") is not None and "rollouts/distinct" in entry
    ]


def warnings(steps: Sequence[Step], bounds: params.Hacking) -> list[str]:
    """What is suspicious about the last steps against the first ones; nothing while there are too few of them."""
    if len(steps) < 2 * bounds.steps:
        return []
    first, last = _mean(steps[: bounds.steps]), _mean(steps[-bounds.steps :])
    if last.reward <= first.reward:
        return []
    found = []
    if last.length > bounds.length * first.length:
        found.append(f"answers grew from {first.length:.1f} to {last.length:.1f} tokens")
    if last.length < first.length / bounds.length:
        found.append(f"answers shrank from {first.length:.1f} to {last.length:.1f} tokens")
    if last.repetition - first.repetition > bounds.repetition:
        found.append(f"repeated {REPEATED_N}-grams rose from {first.repetition:.0%} to {last.repetition:.0%}")
    if first.distinct - last.distinct > bounds.distinct:
        found.append(f"distinct-{DISTINCT_N} fell from {first.distinct:.2f} to {last.distinct:.2f}")
    if last.kl > bounds.kl:
        found.append(f"the KL to the sft model went from {first.kl:.3f} to {last.kl:.3f} nats a token")
    return [f"the reward rose from {first.reward:.3f} to {last.reward:.3f} while {one}" for one in found]


def _mean(steps: Sequence[Step]) -> Step:
    n = len(steps)
    return Step(steps[-1].step, *(sum(step[place] for step in steps) / n for place in range(1, len(Step._fields))))
