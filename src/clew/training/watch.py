"""The callback beside every trainer: one progress bar, early stopping, and a seal on each checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clew.training import checkpoints
from clew.training.best import Best
from clew.training.fed import Fed


def make_watch(title: str, best: Best | None, fed: Fed) -> Any:
    """A transformers callback. best: where to keep the best weights, or None to train to the end."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    from clew.training.loop import check_finite

    class Watch(TrainerCallback):  # type: ignore[misc]
        """See `make_watch`; the methods are transformers' own hooks."""

        bar: Any = None
        valid = ""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=title, unit="step")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                check_finite(logs["loss"], state.global_step, title)
                self.bar.update(state.global_step - self.bar.n)
                self.bar.set_postfix_str(f"loss {logs['loss']:.3f}{self.valid}")

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if best is not None and state.global_step >= state.max_steps:
                control.should_evaluate = True

        def on_evaluate(
            self, args: Any, state: Any, control: Any, model: Any = None, metrics: Any = None, **_: Any
        ) -> None:
            if best is None:
                return
            check_finite(metrics["eval_loss"], state.global_step, title)
            self.valid = f", valid {metrics['eval_loss']:.3f}"
            stop = best.consider(metrics["eval_loss"], state.global_step, model)
            if best.step == state.global_step:
                fed.keep()
            if stop:
                control.should_training_stop = True
                control.should_save = False  # a run killed from here on stops here again

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoint = Path(args.output_dir) / f"{checkpoints.PREFIX}{state.global_step}"
            if best is not None:
                best.save(checkpoint)
            fed.save(checkpoint)
            checkpoints.seal(checkpoint)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Watch()
