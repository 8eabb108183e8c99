"""Learning from rewards: TRL's RLOOTrainer and GRPOTrainer, on answers that are drawn from seeds of their own.

A step draws `generations` answers to each of its prompts, has them rewarded, and moves the model towards those that
are better than the others of their prompt. A step's answers come from the model as it is, never from an older one.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clew import paths
from clew.errors import DataError, ModelError
from clew.training import choice, data, device, hacking, lesson, loop, reward, rewards, sampling
from clew.training import fed as feeding
from clew.training.lesson import Lesson

if TYPE_CHECKING:
    from clew import params_training as params


@dataclass(frozen=True)
class Prompt:
    """A row's prompt in tokens; `cut` tells that it lost its middle."""

    row: choice.Row
    ids: list[int]
    cut: bool

    def __len__(self) -> int:
        return len(self.ids)


def plan(
    align: params.Align, own: params.Rloo | params.Grpo, where: device.Device, tokenizer: Any, rows: Any, seed: int
) -> Lesson:
    """The prompts of `rows`, in the order in which they are fed: whole steps of them."""
    room = align.max_length - own.max_new_tokens

    def fit(row: choice.Row) -> Prompt:
        ids = data.prompt_ids(tokenizer, row["messages"])
        return Prompt(row, data.cut_middle(ids, room), len(ids) > room)

    chosen = choice.choose(rows, align.tasks, align.rows, choice.check_any, fit, "align.tasks")
    prompts = {prompt.row["row_id"]: prompt for prompt in chosen.items}
    a_step = align.batch_size // own.generations
    ordered = sorted(chosen.items, key=len)
    order = data.feeding_order([len(prompt) for prompt in ordered], a_step, align.epochs, seed, "align.epochs")
    fed = [ordered[index] for index in order[: len(order) // a_step * a_step]]
    if not fed:
        raise DataError(
            f"{len(order)} prompts are less than a step's {a_step}",
            where="align.rows",
            fix="Raise it, or align.epochs.",
        )
    judge = _judge(where, tokenizer, own.generations) if any(t.kind == "model" for t in own.rewards) else None
    terms = rewards.make(own.rewards, judge)

    def build(micro: int, model: Any, adapter: Any, arguments: dict[str, Any]) -> Any:
        from datasets import Dataset

        trainer = make_trainer_class(align.algorithm, prompts, seed, micro)(
            model=model,
            reward_funcs=[_as_trl_calls_it(name, score, prompts) for name, _, score in terms],
            args=loop.one_gpu_each(_config(own, [weight for _, weight, _ in terms], arguments)),
            train_dataset=Dataset.from_dict({"prompt": [prompt.row["row_id"] for prompt in fed]}),
            processing_class=tokenizer,
            callbacks=[_watch(own.hacking)],
            peft_config=adapter,
        )
        if adapter is not None:
            import torch

            ids = torch.tensor([fed[0].ids])
            with where.autocast():  # flash attention takes no float32
                lesson.prove_reference(trainer.model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        return trainer

    return Lesson(
        chosen,
        [(row_id, prompt.cut) for row_id, prompt in prompts.items()],
        len(fed) * own.generations,
        align.max_length,
        build,
        lambda fitted: _metrics(fitted, own, chosen, fed, [name for name, *_ in terms]),
        lambda fitted: lesson.lines(fitted.history, LOGGED),
    )


LOGGED = {
    "reward": "reward",
    "kl": "kl",
    "length": "completions/mean_length",
    "repetition": "rollouts/repetition",
    "distinct": "rollouts/distinct",
}
"""Column of align_steps.csv → the name under which the trainer logs it."""


def _config(own: params.Rloo | params.Grpo, weights: Sequence[float], arguments: dict[str, Any]) -> Any:
    """TRL's config. A step's answers are drawn at once: no checkpoint lies between drawing and learning."""
    from trl import GRPOConfig, RLOOConfig

    known = {field.name for field in dataclasses.fields(RLOOConfig)}  # prompts come in tokens: nothing to prepare
    shared = {name: value for name, value in arguments.items() if name in known} | {
        "num_generations": own.generations,
        "max_completion_length": own.max_new_tokens,
        "temperature": own.temperature,
        "beta": own.beta,
        "epsilon": own.epsilon,
        "reward_weights": list(weights),
        "shuffle_dataset": False,
        "disable_dropout": True,
    }
    if hasattr(own, "normalize_advantages"):
        return RLOOConfig(**shared, normalize_advantages=own.normalize_advantages)
    return GRPOConfig(**shared, loss_type=own.loss, scale_rewards=own.scale_rewards)


def _judge(where: device.Device, tokenizer: Any, batch_size: int) -> rewards.Score:
    """The reward model as a function of answers; ModelError where none was trained."""
    if not (paths.REWARD / "config.json").exists():
        raise ModelError(
            "there is no reward model", where=str(paths.REWARD), fix="Set reward.enabled: true and run `dvc repro`."
        )
    model = reward.load_model(paths.REWARD, where, reward.padding(tokenizer)).eval()

    def score(answers: Sequence[rewards.Answer]) -> list[float | None]:
        return [*reward.score(model, [a.tokens for a in answers], reward.padding(tokenizer), batch_size, where)]

    return score


def _as_trl_calls_it(name: str, score: rewards.Score, prompts: Mapping[str, Prompt]) -> Callable[..., Any]:
    """A reward in TRL's form: it is called with row ids as prompts, which stand for the rows."""

    def function(prompts: Sequence[str], completions: Sequence[str], completion_ids: Any, **_: Any) -> Any:
        return score(
            [
                rewards.Answer(known[row_id].row, text, [*known[row_id].ids, *ids])
                for row_id, text, ids in zip(prompts, completions, completion_ids, strict=True)
            ]
        )

    known = prompts
    function.__name__ = name
    return function


def make_trainer_class(algorithm: str, prompts: Mapping[str, Prompt], seed: int, at_once: int) -> Any:
    """RLOOTrainer or GRPOTrainer, whose prompts are row ids and whose answers are drawn by `sampling`.

    at_once: how many answers are drawn side by side.
    """
    import torch
    from trl import GRPOTrainer, RLOOTrainer
    from trl.models.utils import unwrap_model_for_generation

    numbers = {row_id: number for number, row_id in enumerate(prompts)}
    base: Any = {"rloo": RLOOTrainer, "grpo": GRPOTrainer}[algorithm]

    class RolloutTrainer(loop.Quiet, base):  # type: ignore[misc]
        """See `make_trainer_class`; every method is one that TRL's trainers call."""

        fed: feeding.Fed
        row_ids: tuple[str, ...] = ()

        def _tokenize_prompts(self, row_ids: Sequence[str]) -> Any:
            self.row_ids = tuple(row_ids)
            return [list(prompts[row_id].ids) for row_id in row_ids], None, {}

        def _generate_single_turn(self, prompt_ids: Sequence[list[int]], *_: Any, **__: Any) -> Any:
            drawn: Counter[str] = Counter()
            seeds = []
            for row_id in self.row_ids:
                seeds.append(sampling.seed_of(seed, row_id, self.state.global_step, drawn[row_id]))
                drawn[row_id] += 1
            answers: list[list[int]] = []
            with (
                unwrap_model_for_generation(self.model_wrapped, self.accelerator) as model,
                self.accelerator.autocast(),
            ):
                for start in range(0, len(seeds), at_once):
                    part = slice(start, start + at_once)
                    answers += sampling.sample(
                        model,
                        prompt_ids[part],
                        seeds[part],
                        self.temperature,
                        self.max_completion_length,
                        self.eos_token_ids,
                        self._tokenizer.pad_token_id,
                    )
            self._note(prompt_ids, answers)
            return (answers, None) if algorithm == "grpo" else answers

        def _note(self, prompt_ids: Sequence[list[int]], answers: Sequence[list[int]]) -> None:
            """Count what is about to be trained on, and how the answers are written."""
            for row_id, prompt, answer in zip(self.row_ids, prompt_ids, answers, strict=True):
                examples = torch.full((1, len(prompt) + len(answer)), numbers[row_id])
                self.fed.add(examples, torch.arange(examples.shape[1]).unsqueeze(0) >= len(prompt))
            repeated = [rewards.repetition(answer, hacking.REPEATED_N) for answer in answers]
            self._metrics["train"]["rollouts/repetition"].append(sum(repeated) / len(repeated))
            self._metrics["train"]["rollouts/distinct"].append(hacking.distinct(answers, hacking.DISTINCT_N))

    return RolloutTrainer


def _watch(bounds: params.Hacking) -> Any:
    """A callback that tells of reward hacking once for each thing that is suspicious, while training goes on."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        told: tuple[str, ...] = ()

        def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
            said = (logs or {}).get("reward", 0.0)
            if said is None or math.isnan(said):
                raise DataError(
                    f"no reward says anything of the answers of step {state.global_step}",
                    where="align.rewards",
                    fix="Let a function return a number for some answer of each step, or add another reward.",
                )
            for warning in hacking.warnings(hacking.steps_of(state.log_history), bounds):
                kind = warning.partition(" while ")[2].partition(" from ")[0]
                if kind not in self.told:
                    self.told += (kind,)
                    tqdm.write(f"align, step {state.global_step}: {warning}. Read some answers: is this what you want?")

    return Watch()


def _metrics(
    fitted: loop.Fitted,
    own: params.Rloo | params.Grpo,
    chosen: choice.Choice[Prompt],
    fed: Sequence[Prompt],
    names: Sequence[str],
) -> dict[str, Any]:
    logged = [entry for entry in fitted.history if "loss" in entry]
    first, last = logged[: len(lesson.last(fitted.history))], lesson.last(fitted.history)
    named = {**LOGGED, **{f"reward_{name}": f"rewards/{name}/mean" for name in names}}
    return lesson.shared(fitted) | {
        "rows": {"all": len(chosen.rows), **Counter(str(row["task"]) for row in chosen.rows)},
        "prompts": {"fed": len(fed), "cut": sum(prompt.cut for prompt in chosen.items)},
        "answers": len(fed) * own.generations,
        # Means over the first and the last quarter of the steps; kl is a mean by token, in nats.
        **{column: {"first": _mean(first, name), "last": _mean(last, name)} for column, name in named.items()},
        "answers_without_end": _mean(last, "completions/clipped_ratio"),
        "warnings": hacking.warnings(hacking.steps_of(fitted.history), own.hacking),
    }


def _mean(logged: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [entry[name] for entry in logged if entry.get(name) is not None]
    return sum(values) / len(values) if values else None
