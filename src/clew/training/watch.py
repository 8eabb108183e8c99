"""The callback beside every trainer: a progress bar, live curves, early stopping, and a seal on each checkpoint.

A run that diverges is stopped: with a loss that is no number, or one that has risen and stays up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import paths
from clew.errors import ModelError
from clew.training import checkpoints, processes
from clew.training.best import Best
from clew.training.fed import Fed

if TYPE_CHECKING:
    from clew.params_training import Divergence


def make_watch(
    title: str, best: Best | None, fed: Fed, divergence: Divergence | None, wrapped: Callable[[], Any]
) -> Any:
    """A transformers callback. best: where to keep the best weights, or None to train to the end. wrapped: the model as
    it is trained."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        """See `make_watch`; the methods are transformers' own hooks."""

        bar: Any = None
        live: Any = None
        valid = ""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            processes.check_wrapper(wrapped())
            quiet = not processes.is_main()
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=title, unit="step", disable=quiet)
            self.started, self.tokens = time.perf_counter(), fed.tokens

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                folder = Path(args.output_dir)
                check_finite(logs["loss"], state.global_step, title, folder, before=state.global_step - 1)
                if divergence is not None:
                    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
                    check_rise(losses, divergence, title, folder)
                speed = (fed.tokens - self.tokens) / (time.perf_counter() - self.started)
                self.bar.update(state.global_step - self.bar.n)
                self.bar.set_postfix_str(f"loss {logs['loss']:.3f}{self.valid}, {speed:,.0f} tokens/s")
            if self.live is None and processes.is_main():
                self.live = Live(title, state.log_history[:-1])
            if self.live is not None:
                self.live.log(state.log_history[-1])

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if best is not None and state.global_step >= state.max_steps:
                control.should_evaluate = True

        def on_evaluate(
            self, args: Any, state: Any, control: Any, model: Any = None, metrics: Any = None, **_: Any
        ) -> None:
            if best is None:
                return
            check_finite(
                metrics["eval_loss"], state.global_step, title, Path(args.output_dir), before=state.global_step
            )
            self.valid = f", valid {metrics['eval_loss']:.3f}"
            stop = best.consider(metrics["eval_loss"], state.global_step, model)
            fed.settle()
            if best.step == state.global_step:
                fed.keep()
            if stop:
                control.should_training_stop = True
                control.should_save = False  # a run killed from here on stops here again

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            checkpoint = Path(args.output_dir) / f"{checkpoints.PREFIX}{state.global_step}"
            fed.settle()
            processes.wait()  # each writes its own states of random numbers
            if not processes.is_main():
                return
            if best is not None:
                best.save(checkpoint)
            fed.save(checkpoint)
            checkpoints.seal(checkpoint)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()
            if self.live is not None:
                self.live.end()

    return Watch()


class Live:
    """Curves to look at while training goes on, written by DVCLive: `dvc plots show .clew/live/sft/plots/metrics`.

    Made at the first step, since DVCLive takes seconds to load. before: what was logged by a run that this one resumes.
    """

    def __init__(self, title: str, before: Sequence[Mapping[str, Any]]) -> None:
        from dvclive.live import Live as Writer
        from scmrepo.exceptions import SCMError

        self.writer: Any = None
        try:
            self.writer = Writer(
                dir=str(paths.LIVE / title), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False
            )
        except SCMError:
            return  # a repository without a commit
        for logs in before:
            self.log(logs)

    def log(self, logs: Mapping[str, Any]) -> None:
        """Add one entry of transformers' log history."""
        if self.writer is None:
            return
        self.writer.step = logs["step"]
        for name, value in logs.items():
            if name not in ("step", "epoch") and isinstance(value, int | float):
                self.writer.log_metric(f"valid/{name[5:]}" if name.startswith("eval_") else f"train/{name}", value)

    def end(self) -> None:
        """Close the files."""
        if self.writer is not None:
            self.writer.end()


def check_finite(loss: float, step: int, title: str, folder: Path, before: int) -> None:
    """Refuse to go on with a loss that is no number. before: the first step whose weights may have caused it."""
    if not math.isfinite(loss):
        raise _diverged(f"the loss is {loss} at step {step}", title, folder, before)


def check_rise(losses: Sequence[float], divergence: Divergence, title: str, folder: Path) -> None:
    """Refuse to go on where the mean loss of the last window of steps is above the first's, and far above the lowest.

    Batches of different tasks have different losses: that is why means are compared, and only as windows fill.
    """
    window = divergence.window
    if len(losses) % window:
        return
    means = [sum(losses[at : at + window]) / window for at in range(0, len(losses), window)]
    if means[-1] > means[0] and means[-1] > divergence.factor * min(means):
        what = f"the loss of the last {window} steps is {means[-1]:.3f} on average, and was {min(means):.3f} before"
        raise _diverged(f"{what} (step {len(losses)})", title, folder, len(losses) - window + 1)


def _diverged(what: str, title: str, folder: Path, before: int) -> ModelError:
    last = checkpoints.newest(folder, before)
    kept = f"; {last} holds the weights before" if last else ""
    return ModelError(f"{what}{kept}", where=title, fix=f"Lower {title}.learning_rate, or warm up longer.")
