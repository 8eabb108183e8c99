"""A reward model from preference pairs: TRL's RewardTrainer, with a weight for each pair.

The model of the sft stage gets a head of one number in place of its vocabulary; the loss is Bradley and Terry's (1952),
-log sigmoid(r(chosen) - r(rejected)). Answers are judged in the tokens that they were trained in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew.errors import ModelError
from clew.training import best, fed, loop, processes
from clew.training.dpo import Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clew.training.device import Device

HEAD = "score"
"""What transformers calls the head of one number on a causal language model."""


def padding(tokenizer: Any) -> int:
    """The token to pad with. transformers judges an answer at its last token that is another one: so not the stop
    token, with which many models pad, or an answer that ends would be judged as one that was cut."""
    others = [tokenizer.pad_token_id, *tokenizer.all_special_ids, 0]
    return int(next(token for token in others if token != tokenizer.eos_token_id))


def load_model(folder: Path, where: Device, pad_token_id: int, *, train: str | None = None) -> Any:
    """The reward model of a folder, on the device; of a causal language model's, with a head drawn from torch's seed.

    train: as `device.load_model` has it. Raises ModelError where the architecture has no such head.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    held = {"full": torch.float32, "lora": "auto", None: getattr(torch, where.precision)}
    try:
        with suppress_seqcls_warning():
            model = AutoModelForSequenceClassification.from_pretrained(
                folder,
                num_labels=1,
                dtype=held.get(train, "auto"),
                attn_implementation=where.attention,
                use_safetensors=True,
                trust_remote_code=False,
                pad_token_id=pad_token_id,  # by it the last token of an answer is found
            )
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        what = f"the model cannot be given a reward head ({reason})"
        raise ModelError(
            what, where=str(folder), fix="Set reward.enabled: false, or take another base model."
        ) from None
    if not hasattr(model, HEAD):
        what = f"{type(model).__name__} has no head called `{HEAD}`"
        raise ModelError(what, where=str(folder), fix="Set reward.enabled: false, or take another base model.")
    return model.to(where.name)


def make_dataset(pairs: Sequence[Pair], numbers: Sequence[int], fill: int = 0) -> Any:
    """The pairs in the columns that TRL's collator and `make_collator` read. numbers: how `Fed` counts each.

    fill: so often the first stands there again at the end, weighs nothing and is not counted (see `processes.fill`).
    """
    from datasets import Dataset

    weights = [pair.chosen.weight for pair in pairs] + [0.0] * fill
    pairs, numbers = [*pairs, *[pairs[0]] * fill], [*numbers, *[-1] * fill]
    return Dataset.from_dict(
        {
            "chosen_ids": [pair.chosen.prompt + pair.chosen.completion for pair in pairs],
            "rejected_ids": [pair.rejected.prompt + pair.rejected.completion for pair in pairs],
            "weight": weights,
            "example": numbers,
        }
    )


def make_collator(pad_token_id: int) -> Any:
    """TRL's own collator (all chosen answers, then all rejected), with the rows' `weights` and `examples`: of which
    pair each token is."""
    from trl.trainer.reward_trainer import DataCollatorForPreference

    return fed.collator(DataCollatorForPreference(pad_token_id=pad_token_id), sequences=2)


def weighted_loss(chosen: Any, rejected: Any, weights: Any, total: Any, center: float) -> Any:
    """Mean of -log sigmoid(chosen - rejected) + center * (chosen + rejected)^2, each pair counted as it weighs.

    chosen, rejected, weights: (pairs,). total: the weights of all pairs of the step. The second term keeps rewards
    near 0, which differences leave open (Eisenstein et al., 2023, arXiv:2312.09244).
    """
    from torch.nn.functional import logsigmoid

    losses = -logsigmoid(chosen - rejected) + center * (chosen + rejected) ** 2
    return (losses * weights).sum() / total.where(total > 0, total.new_ones(()))


def make_trainer_class(center: float) -> Any:
    """RewardTrainer with weights of rows, that takes pairs in tokens."""
    import torch
    from trl import RewardTrainer

    class PairTrainer(loop.Quiet, RewardTrainer):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that RewardTrainer or Trainer calls."""

        fed: fed.Fed
        loss_is_scaled_for_ga = True  # by the weights of the whole step

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            examples = inputs.pop("examples")
            self.fed.add(examples, examples >= 0, copies=2)  # the reward is of all that was read
            return super().training_step(model, inputs, *args, **options)

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> Any:
            return processes.total(sum(batch["weights"].sum() for batch in batch_samples).to(device))

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            weights = inputs["weights"]
            tensors = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            outputs = model(**tensors, use_cache=False)
            chosen, rejected = torch.chunk(outputs.logits.squeeze(-1).float(), chunks=2)
            total = weights.sum() if num_items_in_batch is None else num_items_in_batch
            loss = weighted_loss(chosen, rejected, weights, total, center)
            if self.model.training:
                loss = loss * processes.count()  # the gradients of all are averaged
                difference = (chosen - rejected).detach()
                self._metrics["train"]["accuracy"].append((difference > 0).float().mean().item())
                self._metrics["train"]["margin"].append(difference.mean().item())
            return (loss, outputs) if return_outputs else loss

    return PairTrainer


def write_model(source: Path, config: Any, weights: Mapping[str, Any], where: Device, pad: int, target: Path) -> None:
    """Write `source` with its trained head and weights as a self-contained reward model, adapters merged in float32."""
    import torch
    from peft import get_peft_model

    model = load_model(source, where, pad, train="lora").to("cpu")
    stored = model.dtype
    model = model.to(torch.float32)
    if config is not None:
        model = get_peft_model(model, config)
    best.put_weights(model, dict(weights))
    if config is not None:
        model = model.merge_and_unload(safe_merge=True)
    loop.copy_all_but_weights(source, target)
    model.to(stored).save_pretrained(target)  # its config.json, not that of the language model
    (target / "generation_config.json").unlink(missing_ok=True)
    for path in target.iterdir():  # safetensors makes files for their owner alone
        path.chmod(0o644)


def score(model: Any, sequences: Sequence[Sequence[int]], pad: int, batch_size: int, where: Device) -> list[float]:
    """The reward of each prompt with its answer, given in tokens; batches are of like length."""
    import torch

    order = sorted(range(len(sequences)), key=lambda index: (-len(sequences[index]), index))
    found = [0.0] * len(sequences)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        width = max(len(sequences[index]) for index in batch)
        ids = torch.tensor([[*sequences[index], *[pad] * (width - len(sequences[index]))] for index in batch])
        mask = torch.tensor([[1] * len(sequences[i]) + [0] * (width - len(sequences[i])) for i in batch])
        with torch.no_grad(), where.autocast():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
        for index, value in zip(batch, logits[:, 0].float().cpu().tolist(), strict=True):
            found[index] = value
    return found


def reliability(differences: NDArray[np.float64], bins: int) -> list[dict[str, Any]]:
    """Bins of the probability that the favoured answer is the better one, from .5 to 1: low, high, n, mean, right.

    differences (n,): r(chosen) - r(rejected). mean: of the probabilities sigmoid(|difference|) in the bin; right: the
    share whose favoured answer was the chosen one (half of a tie). None where the bin is empty.
    """
    import numpy as np

    sure = 1 / (1 + np.exp(-np.abs(differences)))
    right = np.where(differences == 0, 0.5, differences > 0)
    edges = np.linspace(0.5, 1, bins + 1)
    place = np.clip(np.digitize(sure, edges) - 1, 0, bins - 1)
    found = []
    for at in range(bins):
        here = place == at
        n = int(here.sum())
        mean, hit = (float(values[here].mean()) if n else None for values in (sure, right))
        found.append({"low": float(edges[at]), "high": float(edges[at + 1]), "n": n, "mean": mean, "right": hit})
    return found


def calibration_error(bins: Sequence[Mapping[str, Any]]) -> float:
    """Expected calibration error (Naeini et al., 2015): |mean - right| of each bin, weighted by its n."""
    n = sum(one["n"] for one in bins)
    return float(sum(one["n"] * abs(one["mean"] - one["right"]) for one in bins if one["n"]) / n)
