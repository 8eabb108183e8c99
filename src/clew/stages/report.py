"""report: everything that was found → reports/report.html and reports/model_card.md.

reports/runtime.html beside them is volatile (time, memory, machine), so it is not an out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clew import io, paths
from clew.report import card, experiment, page, runtime

if TYPE_CHECKING:
    from clew import params


def run(
    seed: int,
    model: params.Model,
    fetch_data: params.FetchData,
    fetch_model: params.FetchModel,
    prepare: params.Prepare,
    clean: params.Clean,
    split: params.Split,
    select: params.Select,
    augment: params.Augment,
    balance: params.Balance,
    sft: params.Sft,
    reward: params.Reward,
    align: params.Align,
    compress: params.Compress,
    predict: params.Predict,
    evaluate: params.Evaluate,
    fairness: params.Fairness,
    report: params.Report,
) -> dict[str, Any]:
    """Read the run, write the page, the card and the record of machines. Every section is shown, so all are named."""
    sections = {
        "model": model,
        "fetch_data": fetch_data,
        "fetch_model": fetch_model,
        "prepare": prepare,
        "clean": clean,
        "split": split,
        "select": select,
        "augment": augment,
        "balance": balance,
        "sft": sft,
        "reward": reward,
        "align": align,
        "compress": compress,
        "predict": predict,
        "evaluate": evaluate,
        "fairness": fairness,
        "report": report,
    }
    values = {"seed": seed} | {name: section.model_dump(mode="json") for name, section in sections.items()}
    found = experiment.read(values)
    _write(paths.REPORT, page.render(found))
    _write(paths.MODEL_CARD, card.render(found))
    digests = {digest.path: digest.sha256 for digest in found.digests}
    _write(runtime.PAGE, runtime.render(runtime.read(), report.title, digests))
    return {}


def _write(path: Path, text: str) -> None:
    with io.replace_file(path) as aside:
        aside.write_text(text, encoding="utf-8")
