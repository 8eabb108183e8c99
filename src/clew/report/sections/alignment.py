"""alignment: the aligned model beside the sft model on held-out rows, how it got there, and whether rewards were gamed.

metrics/align.json `held_out` and `warnings`; metrics/plots/align_steps.csv (step, reward, margin, kl, length, …).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clew.report import curves, measured, words
from clew.report.experiment import Experiment
from clew.report.sections import training

PREFERS = words.Metric("preference accuracy", "share", "share of pairs of which it finds the wanted answer likelier")
WINS = words.Metric(
    "win rate", "share", "share of prompts where the reward model prefers its answer to sft’s; a tie is half"
)
REWARD = words.Metric("reward", "plain", "mean of what the reward model gives to the answers that it writes")
FIGURES = {
    "reward": ("Reward", "mean over a step’s answers; what training raises"),
    "margin": ("Margin", "how much likelier than in sft the wanted answer is against the unwanted one, × beta"),
    "kl": ("KL to sft", "how far the model has moved from sft, in nats a token; 0 is not at all"),
    "length": ("Length", "mean tokens of an answer; a reward that rises with it may be paid for length"),
    "repetition": ("Repetition", "share of an answer’s three-token sequences that it has written before"),
    "distinct": ("Variety (distinct-2)", "different pairs of neighbouring tokens, of all; falls as answers grow alike"),
}  # fmt: skip


def build(experiment: Experiment) -> Mapping[str, Any] | None:
    """Cards of what was held out, a curve for each figure, the warnings; None where nothing was aligned."""
    asked, got = experiment.params["align"], experiment.training["align"]
    if not asked["enabled"]:
        return None
    own = asked[asked["algorithm"]]
    window = own["hacking"]["steps"] if "hacking" in own else 1
    table = experiment.steps
    series = {name: curves.points(table, name) for name in FIGURES if table and name in table[0]}
    found = {name: points for name, points in series.items() if points}
    held_out = got.get("held_out")
    return {
        "algorithm": training.algorithm(asked),
        "held_out": held_out,
        "cards": list(cards(held_out)) if held_out and held_out["n"] else [],
        "confidence": words.number(100 * asked["held_out"]["confidence"], "count") if held_out else "",
        "warnings": got.get("warnings", []),
        "watched": watched(found, window) if "hacking" in own else "",
        "curves": [chart(name, points, own, window) for name, points in found.items()],
    }


def cards(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The held-out comparison: what both models prefer, and what the reward model prefers of theirs."""
    prefers, wins, rewards = found["preference_accuracy"], found["win_rate"], found.get("reward")
    if prefers["n"]:
        both = {name: prefers[name] for name in ("sft", "aligned")}
        even = measured.Mark(0.5, "guessing", f"guessing is right in 50{words.NARROW}%")
        yield measured.card("Preference accuracy", PREFERS.means, both, prefers["n"], PREFERS, even)
    if wins["value"] is not None:
        even = measured.Mark(0.5, "sft", f"50{words.NARROW}%, where neither model is preferred")
        yield measured.card("Win rate", WINS.means, {"aligned": {**wins, "n": None}}, wins["n"], WINS, even)
    if rewards:
        both = {name: rewards[name] for name in ("sft", "aligned")}
        yield measured.card("Reward", REWARD.means, both, rewards["n"], REWARD)


def chart(name: str, points: Sequence[curves.Point], own: Mapping[str, Any], window: int) -> dict[str, Any]:
    """A figure by step, its running mean where it is watched, and the bounds of the watch."""
    title, means = FIGURES[name]
    series = {"each step": points}
    if 1 < window < len(points):
        series[f"mean of {window} steps"] = curves.smooth(points, window)
    told, bounds = "", []
    if "hacking" in own and len(points) >= window:
        bounds = bounds_of(name, points, own["hacking"])
        shown = words.listed([words.number(bound) for bound in bounds], "or")
        told = f" Beyond {shown} it is warned of (dashed, where near)." if bounds else ""
    return curves.chart(title, series, f"{means[:1].upper()}{means[1:]}.{told}", bounds)


def bounds_of(name: str, points: Sequence[curves.Point], hacking: Mapping[str, Any]) -> list[float]:
    """The bounds of clew.training.hacking for a figure, from the mean of its first steps."""
    first = sum(y for _, y in points[: hacking["steps"]]) / hacking["steps"]
    return {
        "length": [first * hacking["length"], first / hacking["length"]],
        "repetition": [first + hacking["repetition"]],
        "distinct": [first - hacking["distinct"]],
        "kl": [hacking["kl"]],
    }.get(name, [])


def watched(found: Mapping[str, Sequence[curves.Point]], window: int) -> str:
    """What the watch on the reward saw, where it had nothing to warn of."""
    rewards = [y for _, y in found.get("reward", ())]
    if len(rewards) < 2 * window:
        few = f"{words.plural(len(rewards), 'step')} are too few to compare the first {window} with the last {window}"
        return f"{few}: whether the reward was gamed is not known."
    first, last = (sum(some) / window for some in (rewards[:window], rewards[-window:]))
    ends = f"means of the first and last {words.plural(window, 'step')}"
    moved = f"from {words.number(first)} to {words.number(last)} ({ends})"
    if last <= first:
        return f"The reward did not rise: {moved}."
    return f"The reward rose {moved}, and neither length, repetition, variety nor KL went beyond its bound."
