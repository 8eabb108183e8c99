"""What is told while training goes on, and when it is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew import io, paths, rows
from clew.errors import ModelError
from clew.params import Divergence
from clew.stages import sft
from clew.training import watch
from examples import tiny_model

RULE = Divergence(window=2, factor=2.0)


@pytest.mark.parametrize("losses", [[3, 3, 1, 1], [3, 3, 1, 1, 2, 2], [1, 1, 1, 9], [1, 1, 5], [3, 3, 1, 1, 9]])
def test_losses_that_fall_or_have_not_risen_for_a_window_are_fine(losses: list[float], tmp_path: Path) -> None:
    watch.check_rise(losses, Divergence(window=2, factor=6.0), "sft", tmp_path)


@pytest.mark.parametrize("losses", [[3, 3, 1, 1, 4, 4], [1, 1, 5, 5], [1, 1, 0.2, 0.2, 1.1, 1.1]])
def test_losses_that_have_risen_end_the_run(losses: list[float], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"sft: the loss of the last 2 steps is .*Lower sft\.learning_rate"):
        watch.check_rise(losses, RULE, "sft", tmp_path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_model.write(paths.BASE)
    rows.write(paths.TRAIN, tiny_model.rows(8))
    rows.write(paths.SPLITS / "valid.parquet", tiny_model.rows(3, first=50))


@pytest.mark.usefixtures("here")
def test_the_checkpoint_that_is_named_is_of_before_the_weights_were_lost() -> None:
    import torch
    from safetensors.torch import load_file

    section = {"method": "full", "optimizer": "sgd", "max_grad_norm": None, "checkpoint_steps": 1, "epochs": 8}
    growing = {"learning_rate": 1e25, "warmup": 0.9}  # the loss is finite when the first update loses the weights
    with pytest.raises(ModelError, match=r"the loss is (nan|inf)") as told:
        sft.run(tiny_model.sft_params(**section, **growing, divergence=None), tiny_model.DECODER, 1)
    step = int(str(told.value).split("at step ")[1].split(";")[0].rstrip("."))
    assert all(int(path.name.rpartition("-")[2]) < step - 1 for path in paths.CHECKPOINTS.glob("*/checkpoint-*"))
    for path in paths.CHECKPOINTS.glob("*/checkpoint-*/model.safetensors"):
        assert all(torch.isfinite(weight).all() for weight in load_file(path).values())


@pytest.mark.usefixtures("here")
def test_a_run_that_diverges_keeps_its_last_whole_checkpoint_and_names_it() -> None:
    section = {"epochs": 8, "learning_rate": 5.0, "warmup": 0.5, "checkpoint_steps": 3, "patience": 100}
    with pytest.raises(ModelError, match=r"holds the weights before") as told:
        sft.run(
            tiny_model.sft_params(**section, divergence={"window": 3, "factor": 1.2}, method="full"),
            tiny_model.DECODER,
            1,
        )
    named = str(told.value).split("; ")[1].split(" holds")[0]
    assert Path(named).is_dir()
    assert Path(named).parent.parent == paths.CHECKPOINTS


@pytest.mark.usefixtures("here")
def test_live_curves_are_those_that_are_written_in_the_end() -> None:
    sft.run(tiny_model.sft_params(), tiny_model.DECODER, 1)
    folder = paths.LIVE / "sft/plots/metrics"
    for split in ("train", "valid"):
        written = [
            (line["step"], float(line["loss"])) for line in io.read_csv(paths.SFT_LOSS) if line["split"] == split
        ]
        lines = (folder / split / "loss.tsv").read_text().splitlines()[1:]
        live = [(step, round(float(loss), 6)) for step, loss in (line.split("\t") for line in lines)]
        assert live == written
    assert (folder / "train/learning_rate.tsv").exists()
