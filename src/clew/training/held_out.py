"""The sft and the aligned model side by side on rows of the valid split, which neither was trained on.

Two questions. Does a model find the completion likelier than the rejected answer (its preference accuracy)? And whose
written answers does the reward model prefer (the win rate)?
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clew import paths
from clew.evaluation import intervals, scoring
from clew.training import choice, data, device, dpo, loop, reward

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clew import params_training as params

NAMES = ("sft", "aligned")


class Asked(NamedTuple):
    """A row's prompt in tokens, and its pair where it has one."""

    row: choice.Row
    prompt: list[int]
    pair: dpo.Pair | None


def measure(align: params.Align, own: params.HeldOut, where: device.Device, seed: int, rows: Any) -> dict[str, Any]:
    """Preference accuracy of both models, and with a reward model the win rate and mean rewards, with intervals."""
    tokenizer = device.load_tokenizer(paths.SFT)
    asked = _asked(align, own, tokenizer, rows)
    if not asked:
        return {"n": 0, "reason": "no row of align.tasks in the valid split: raise split.limits.<task>.valid"}
    judged = (paths.REWARD / "config.json").exists()
    preferred, written = [], []
    for folder in (paths.SFT, paths.ALIGNED):
        said = _ask(folder, align, own, where, tokenizer, asked, judged)
        preferred.append(said[0])
        written.append(said[1])
    found: dict[str, Any] = {"n": len(asked), "preference_accuracy": _compare(preferred, own, seed, "preferred")}
    if not judged:
        return found | {"win_rate": {"value": None, "reason": "there is no reward model (reward.enabled: false)"}}
    rewards = _rewards(align, where, tokenizer, asked, written)
    wins = _wins(rewards)
    samples = intervals.bootstrap({"wins": _mean(wins)}, len(wins), own.resamples, intervals.generator(seed, "wins"))
    return found | {
        "win_rate": intervals.entry(float(wins.mean()), samples["wins"], own.confidence) | {"n": len(wins)},
        "reward": _compare(rewards, own, seed, "rewards"),
    }


def _asked(align: params.Align, own: params.HeldOut, tokenizer: Any, rows: Any) -> list[Asked]:
    room = align.max_length - own.max_new_tokens

    def fit(row: choice.Row) -> Asked:
        prompt = data.cut_middle(data.prompt_ids(tokenizer, row["messages"]), room)
        try:
            choice.check_pair(row)
            return Asked(row, prompt, dpo.encode_pair(tokenizer, row, align.max_length, "align"))
        except choice.Unfit:
            return Asked(row, prompt, None)

    tasks = [task for task in align.tasks if any(row["task"] == task for row in rows)]
    return choice.choose(rows, tasks, own.rows, choice.check_any, fit, "align.tasks").items if tasks else []


def _ask(
    folder: Path,
    align: params.Align,
    own: params.HeldOut,
    where: device.Device,
    tokenizer: Any,
    asked: Sequence[Asked],
    judged: bool,
) -> tuple[NDArray[np.float64], list[str]]:
    """Of a model: for each pair 1 where its completion is likelier, .5 for a tie, else 0; and its answers, greedily."""
    import numpy as np

    model = device.load_model(folder, where).eval()
    pairs = [one.pair for one in asked if one.pair is not None]
    questions = [
        scoring.Question(pair.chosen.prompt, [pair.chosen.completion, pair.rejected.completion], pair.chosen.cut)
        for pair in pairs
    ]
    right = np.zeros(len(pairs))
    written = [""] * (len(asked) if judged else 0)
    with where.autocast():
        for batch in scoring.batches([len(question) for question in questions], loop.micro_batch(align)):
            scores = scoring.score(model, [questions[index] for index in batch], tokenizer.pad_token_id)
            for index, (chosen, rejected) in zip(batch, scores, strict=True):
                right[index] = 0.5 if chosen == rejected else float(chosen > rejected)
        for batch in scoring.batches([len(one.prompt) for one in asked], loop.micro_batch(align)) if judged else ():
            prompts = [asked[index].prompt for index in batch]
            texts = scoring.generate(model, tokenizer, prompts, own.max_new_tokens)
            for index, text in zip(batch, texts, strict=True):
                written[index] = text
    return right, written


def _rewards(
    align: params.Align, where: device.Device, tokenizer: Any, asked: Sequence[Asked], written: Sequence[Sequence[str]]
) -> list[NDArray[np.float64]]:
    """What the reward model gives each model's answers, in the tokens of an answered prompt."""
    import numpy as np

    judge = reward.load_model(paths.REWARD, where, reward.padding(tokenizer)).eval()
    return [
        np.array(
            reward.score(
                judge,
                [
                    one.prompt + data.completion_ids(tokenizer, one.row["messages"], text)
                    for one, text in zip(asked, texts, strict=True)
                ],
                reward.padding(tokenizer),
                loop.micro_batch(align),
                where,
            )
        )
        for texts in written
    ]


def _wins(rewards: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """1 where the aligned model's answer has the higher reward, .5 where both have the same, else 0."""
    import numpy as np

    wins: NDArray[np.float64] = np.where(rewards[0] == rewards[1], 0.5, rewards[1] > rewards[0])
    return wins


def _compare(values: Sequence[NDArray[np.float64]], own: params.HeldOut, seed: int, name: str) -> dict[str, Any]:
    """Both models' means and their paired difference, with intervals from the same resamples of rows."""
    n = len(values[0])
    if not n:
        return {"n": 0, "reason": "no row has both a wanted and an unwanted answer"}
    metrics = {model: _mean(each) for model, each in zip(NAMES, values, strict=True)}
    samples = intervals.bootstrap(metrics, n, own.resamples, intervals.generator(seed, name))
    means = {model: float(each.mean()) for model, each in zip(NAMES, values, strict=True)}
    found: dict[str, Any] = {m: intervals.entry(means[m], samples[m], own.confidence) for m in NAMES}
    found["aligned"]["vs_sft"] = intervals.difference(
        means["aligned"], means["sft"], samples["aligned"], samples["sft"], own.confidence
    )
    return found | {"n": n}


def _mean(values: NDArray[np.float64]) -> intervals.Metric:
    return lambda counts: counts @ values / counts.sum(axis=1)
