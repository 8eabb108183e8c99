"""reward and align on a tiny model: what is learnt, the same bytes twice, and after a kill."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clew import io, ledger, params, paths, rows
from clew.errors import DataError, ModelError, ParamsError
from clew.stages import align, reward
from clew.training import data, device, dpo, kto, sampling
from clew.training import reward as reward_model
from examples import tiny_model
from examples.killing import killed

CPU = device.Device("cpu", "float32", "sdpa")
LORA = {**tiny_model.LORA, "dropout": 0.0}
VOWELS = "def vowels(completions, rows):\n    return [sum(c in 'aeiou' for c in text) / 6 for text in completions]\n"
FILE = {"kind": "file", "file": "mine.py", "function": "vowels", "weight": 1.0}
MODEL = {"kind": "model", "weight": 1.0}
KTO = {"beta": 0.1, "wanted_weight": 1.0, "unwanted_weight": 1.0, "row_weights": False}
HELD_OUT = {"rows": 6, "max_new_tokens": 4, "resamples": 200, "confidence": 0.95}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work tree with a tiny sft model, rows that all prefer yes, and a reward function."""
    monkeypatch.chdir(tmp_path)
    tiny_model.write(paths.SFT)
    rows.write(paths.TRAIN, [tiny_model.row(number, "yes") for number in range(12)])
    rows.write(paths.SPLITS / "valid.parquet", [tiny_model.row(number, "yes") for number in range(50, 56)])
    paths.REWARDS.mkdir()
    (paths.REWARDS / "mine.py").write_text(VOWELS)
    reward.run(tiny_model.reward_params(enabled=False), 1)
    return tmp_path


def _sections() -> dict[str, params.Align]:
    """Each algorithm, with several checkpoints and several micro-batches a step."""
    dropout_free = {"lora": LORA, "epochs": 3, "checkpoint_steps": 1}
    online = {**dropout_free, "rows": 8, "rewards": [FILE, {"kind": "repetition", "ngram": 2, "weight": -0.5}]}
    return {
        "dpo": tiny_model.align_params(**dropout_free),
        "dpo_weighted": tiny_model.align_params(**dropout_free, dpo={**tiny_model.DPO, "row_weights": True}),
        "kto": tiny_model.align_params(**dropout_free, algorithm="kto", dpo=None, kto=KTO),
        "kto_weighted": tiny_model.align_params(
            **dropout_free, algorithm="kto", dpo=None, kto={**KTO, "row_weights": True}
        ),
        "rloo": tiny_model.online_params("rloo", **online),
        "grpo": tiny_model.online_params("grpo", **{**online, "method": "full"}),
    }


SLOW = ("dpo_weighted", "kto_weighted", "rloo")
ALIGN_OUTS = (paths.ALIGNED, paths.ALIGN_METRICS, paths.ALIGN_LOSS, paths.ALIGN_STEPS, paths.fed("align"))
REWARD_OUTS = (paths.REWARD, paths.REWARD_METRICS, paths.REWARD_LOSS, paths.RELIABILITY, paths.fed("reward"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in sorted(_sections())]
)
def test_a_killed_alignment_ends_as_an_unbroken_one(here: Path, name: str) -> None:
    section = _sections()[name]
    align.run(section, 1)
    unbroken = [io.tree_sha256(path) for path in ALIGN_OUTS]
    assert unbroken[0] != io.tree_sha256(paths.SFT)
    with killed(2):
        align.run(section, 1)
    assert align.run(section, 1)["resumed_from_step"] == 2
    assert [io.tree_sha256(path) for path in ALIGN_OUTS] == unbroken
    assert ledger.read("align")


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_a_killed_reward_model_ends_as_an_unbroken_one(here: Path, method: str) -> None:
    section = tiny_model.reward_params(method=method, epochs=3, checkpoint_steps=1)  # with dropout
    reward.run(section, 1)
    unbroken = [io.tree_sha256(path) for path in REWARD_OUTS]
    reward.run(section, 2)
    assert io.tree_sha256(paths.REWARD) != unbroken[0]
    with killed(3):
        reward.run(section, 1)
    assert reward.run(section, 1)["resumed_from_step"] == 3
    assert [io.tree_sha256(path) for path in REWARD_OUTS] == unbroken


def test_a_reward_model_learns_what_is_preferred_and_says_how_sure_it_may_be(here: Path) -> None:
    rows.write(paths.SPLITS / "valid.parquet", rows.read(paths.TRAIN)[:6])  # what so small a model can know
    reward.run(tiny_model.reward_params(method="full", epochs=30, learning_rate=0.003, lora=LORA), 1)
    metrics = io.read_json(paths.REWARD_METRICS)
    measured = metrics["held_out"]
    assert metrics["loss"]["last"] < 0.3 < metrics["loss"]["first"]
    assert measured["n"] == 6
    assert measured["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert measured["margin"]["value"] > 1
    assert measured["by_task"] == {"stress": {"accuracy": 1.0, "n": 6}}
    bins = io.read_csv(paths.RELIABILITY)
    assert len(bins) == 5
    unsure = [1 - float(line["mean"]) for line in bins for _ in range(int(line["n"]))]  # all of them are right
    assert len(unsure) == 6
    assert measured["brier"]["value"] == pytest.approx(np.mean(np.square(unsure)), abs=0.03)
    assert measured["calibration_error"] == pytest.approx(np.mean(unsure), abs=1e-5)
    assert {path.name for path in paths.REWARD.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_rewards_do_not_depend_on_what_stands_beside_an_answer(here: Path) -> None:
    reward.run(tiny_model.reward_params(), 1)
    tokenizer = device.load_tokenizer(paths.REWARD)
    model = reward_model.load_model(paths.REWARD, CPU, tokenizer.pad_token_id).eval()
    answers = [list(range(60, 60 + n)) for n in (9, 3, 17, 5)]
    one, four = (reward_model.score(model, answers, tokenizer.pad_token_id, size, CPU) for size in (1, 4))
    assert one == pytest.approx(four, abs=1e-5)
    assert len({round(value, 6) for value in one}) == 4


def test_an_answer_that_ends_is_judged_otherwise_than_one_that_was_cut(here: Path) -> None:
    reward.run(tiny_model.reward_params(), 1)
    tokenizer = device.load_tokenizer(paths.SFT)
    pad = reward_model.padding(tokenizer)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id != pad
    model = reward_model.load_model(paths.REWARD, CPU, pad).eval()
    cut, ended = reward_model.score(model, [[60, 61], [60, 61, tokenizer.eos_token_id]], pad, 2, CPU)
    assert cut != ended


def test_reliability_is_of_the_favoured_answer() -> None:
    sure = math.log(0.95 / 0.05)
    bins = reward_model.reliability(np.array([sure, sure, -sure, 0.0]), 5)
    assert [(one["n"], one["right"]) for one in bins] == [
        (1, 0.5),
        (0, None),
        (0, None),
        (0, None),
        (3, pytest.approx(2 / 3)),
    ]
    assert bins[-1]["mean"] == pytest.approx(0.95)
    assert reward_model.calibration_error(bins) == pytest.approx(0.75 * (0.95 - 2 / 3))


def test_a_pair_of_weight_zero_is_as_one_that_is_not_there(here: Path) -> None:
    """To the reward model: the weighted loss of a batch with such a pair is that of the batch without."""
    import torch

    chosen, rejected = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.0, 3.0, 0.1])
    weights = torch.tensor([1.0, 0.0, 2.0])
    some = torch.tensor([0, 2])
    loss = reward_model.weighted_loss(chosen, rejected, weights, weights.sum(), 0.01)
    without = reward_model.weighted_loss(chosen[some], rejected[some], weights[some], weights.sum(), 0.01)
    assert loss == pytest.approx(float(without), abs=1e-7)


def test_switched_off_it_leaves_a_note_and_nothing_is_decided(here: Path) -> None:
    assert [path.name for path in paths.REWARD.iterdir()] == ["README"]
    assert io.read_json(paths.REWARD_METRICS) == {"enabled": False}
    assert ledger.read("reward") == []


def test_without_held_out_pairs_the_reward_model_says_so(here: Path) -> None:
    rows.write(paths.SPLITS / "valid.parquet", [tiny_model.row(50, rejected=None)])
    reward.run(tiny_model.reward_params(), 1)
    assert io.read_json(paths.REWARD_METRICS)["held_out"]["reason"].startswith("no pair of these tasks")


@pytest.mark.parametrize(
    ("loss", "smoothing", "first"),
    [("sigmoid", 0.0, math.log(2)), ("ipo", 0.0, 25.0), ("hinge", 0.0, 1.0), ("robust", 0.1, math.log(2))],
)
def test_every_loss_of_dpo_prefers_what_it_was_shown(here: Path, loss: str, smoothing: float, first: float) -> None:
    own = {**tiny_model.DPO, "loss": loss, "label_smoothing": smoothing}
    align.run(tiny_model.align_params(lora=LORA, epochs=4, dpo=own), 1)
    assert float(io.read_csv(paths.ALIGN_LOSS)[0]["loss"]) == pytest.approx(first, abs=1e-5)  # still the reference
    assert io.read_json(paths.ALIGN_METRICS)["reward_margin"] > 0


def test_row_weights_reach_the_loss_of_dpo(here: Path) -> None:
    """Weights of 1 give TRL's model to 1e-6; rows of weight 0 teach nothing."""
    weighted = {**tiny_model.DPO, "row_weights": True}
    section = {"lora": LORA, "rows": 12, "epochs": 2}
    found = []
    for own in (tiny_model.DPO, weighted):
        align.run(tiny_model.align_params(**section, dpo=own), 1)
        found.append(_weights(paths.ALIGNED))
    assert _far(found[0], found[1]) < 1e-6
    wrong = [tiny_model.row(number, "no", weight=0.0) for number in range(6)]
    rows.write(paths.TRAIN, wrong + [tiny_model.row(number, "yes", weight=3.0) for number in range(6, 12)])
    margins = []
    for own in (tiny_model.DPO, weighted):
        align.run(tiny_model.align_params(**section, dpo=own), 1)
        margins.append(_yes_over_no())
    assert margins[1] > 0.01
    assert margins[0] < margins[1] / 3, "unweighted, half of the pairs pull the other way"


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def _far(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def _yes_over_no() -> float:
    """How much more the aligned model than the sft model prefers yes, in nats."""
    from clew.evaluation import scoring

    tokenizer = device.load_tokenizer(paths.SFT)
    pair = dpo.encode_pair(tokenizer, tiny_model.row(70, "yes"), 96, "align")
    question = scoring.Question(pair.chosen.prompt, [pair.chosen.completion, pair.rejected.completion], False)
    differences = []
    for folder in (paths.ALIGNED, paths.SFT):
        ((yes, no),) = scoring.score(device.load_model(folder, CPU), [question], tokenizer.pad_token_id)
        differences.append(yes - no)
    return differences[0] - differences[1]


def test_kto_learns_from_answers_without_pairs(here: Path) -> None:
    """Half of the rows have only a wanted answer, half only an unwanted one."""
    alone = [tiny_model.row(n, "yes", rejected=None) for n in range(8)]
    given = alone + [tiny_model.row(n, completion=None, rejected="no") for n in range(8, 16)]
    rows.write(paths.TRAIN, given)
    section = tiny_model.align_params(
        lora=LORA, rows=16, epochs=8, batch_size=8, micro_batch_size=8, algorithm="kto", dpo=None, kto=KTO
    )
    align.run(section, 1)
    metrics = io.read_json(paths.ALIGN_METRICS)
    assert metrics["answers"] == {"all": 16, "fed": 128, "wanted": 8, "unwanted": 8}
    assert metrics["reward_margin"] > 0
    assert metrics["kl"] >= 0
    assert _yes_over_no() > 0


def test_kto_refuses_answers_that_are_all_wanted(here: Path) -> None:
    rows.write(paths.TRAIN, [tiny_model.row(n, rejected=None) for n in range(4)])
    with pytest.raises(DataError, match="all 4 answers are wanted: KTO learns from both"):
        align.run(tiny_model.align_params(lora=LORA, algorithm="kto", dpo=None, kto=KTO), 1)
    weightless = [tiny_model.row(n, completion=None, rejected="no", weight=0.0) for n in range(4, 8)]
    rows.write(paths.TRAIN, [tiny_model.row(n, rejected=None) for n in range(4)] + weightless)
    weighted = tiny_model.align_params(lora=LORA, algorithm="kto", dpo=None, kto={**KTO, "row_weights": True})
    with pytest.raises(DataError, match="all 4 answers are wanted: KTO learns from both"):
        align.run(weighted, 1)


def test_kto_compares_an_answer_with_the_one_before_in_its_micro_batch() -> None:
    examples = [data.Example(str(n), [1, 2], [10 + n], 1.0, False) for n in range(5)]
    answers = [kto.Rated("stress", example, True) for example in examples]
    made = kto.make_dataset(answers, [4, 0, 1, 2, 3], 2, weighted=False)
    assert made["completion_ids"] == [[14], [10], [11], [12], [13]]
    assert made["KL_completion_ids"] == [[10], [14], [12], [11], [13]]
    assert made["example"] == [4, 0, 1, 2, 3]


@pytest.mark.parametrize("algorithm", ["grpo", pytest.param("rloo", marks=pytest.mark.slow)])
def test_answers_move_to_what_is_rewarded_and_hacking_is_warned_of(
    here: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    """A reward for vowels makes a random model write vowels only: the reward rises, and variety falls."""
    section = tiny_model.online_params(
        algorithm,
        rewards=[FILE],
        method="full",
        rows=12,
        epochs=8,
        batch_size=16,
        micro_batch_size=16,
        learning_rate=0.01,
    )
    own = getattr(section, algorithm).model_copy(update={"generations": 8, "beta": 0.001})
    align.run(section.model_copy(update={algorithm: own}), 1)
    metrics = io.read_json(paths.ALIGN_METRICS)
    assert metrics["reward"]["last"] > metrics["reward"]["first"] + 0.3
    assert metrics["reward_file"] == metrics["reward"]
    assert metrics["kl"]["last"] > metrics["kl"]["first"] >= -0.2
    assert any("distinct-2 fell from" in warning for warning in metrics["warnings"])
    assert "distinct-2 fell from" in "".join(capsys.readouterr())
    lines = io.read_csv(paths.ALIGN_STEPS)
    assert len(lines) == metrics["steps"] == 48
    assert all(0 < float(line["length"]) <= 6 and line["kl"] and not line["margin"] for line in lines)
    fed = io.read_parquet(paths.fed("align"), _fed_schema())
    assert sum(row["times_fed"] for row in fed) == metrics["answers"] == 48 * 16


def _fed_schema() -> Any:
    from clew.training import fed

    return fed.SCHEMA


def test_the_whole_chain_with_a_reward_model_and_its_win_rate(here: Path) -> None:
    reward.run(tiny_model.reward_params(method="full", epochs=10, lora=LORA), 1)
    section = tiny_model.online_params("grpo", rewards=[MODEL, FILE], rows=8, held_out=HELD_OUT)
    align.run(section, 1)
    first = io.tree_sha256(paths.ALIGNED)
    metrics = io.read_json(paths.ALIGN_METRICS)
    measured = metrics["held_out"]
    assert measured["n"] == 6
    assert 0 <= measured["win_rate"]["low"] <= measured["win_rate"]["value"] <= measured["win_rate"]["high"] <= 1
    assert {"sft", "aligned", "n"} == set(measured["reward"]) == set(measured["preference_accuracy"])
    assert metrics["reward"]["last"] == pytest.approx(
        metrics["reward_model"]["last"] + metrics["reward_file"]["last"], abs=1e-5
    )
    align.run(section, 1)
    assert io.tree_sha256(paths.ALIGNED) == first


def test_held_out_preferences_are_measured_without_a_reward_model(here: Path) -> None:
    section = tiny_model.align_params(method="full", lora=LORA, rows=12, epochs=8, held_out=HELD_OUT)
    align.run(section, 1)
    measured = io.read_json(paths.ALIGN_METRICS)["held_out"]
    accuracy = measured["preference_accuracy"]
    assert accuracy["sft"]["value"] == 0, "the tiny model finds the shorter answer likelier"
    assert accuracy["aligned"]["value"] == accuracy["aligned"]["vs_sft"]["difference"] == 1
    assert measured["win_rate"]["value"] is None
    assert "reward.enabled" in measured["win_rate"]["reason"]


def test_answers_follow_the_probabilities_alone_whatever_the_base_model_asks_for(here: Path) -> None:
    def draw() -> list[list[int]]:
        seeds = [sampling.seed_of(1, "x", 0, number) for number in range(20)]
        return sampling.sample(device.load_model(paths.SFT, CPU).eval(), [[60, 61]] * 20, seeds, 1.0, 8, [258], 258)

    before, file = draw(), paths.SFT / "generation_config.json"
    told = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(told | {"repetition_penalty": 5.0, "suppress_tokens": [before[0][0]]}))
    assert draw() == before


def test_a_reward_that_says_nothing_ends_the_run(here: Path) -> None:
    (paths.REWARDS / "none.py").write_text("def none(completions, rows):\n    return [None] * len(completions)\n")
    silent = {**FILE, "file": "none.py", "function": "none"}
    with pytest.raises(DataError, match="no reward says anything of the answers of step 1"):
        align.run(tiny_model.online_params("grpo", rewards=[silent], rows=8, epochs=1), 1)


def test_a_reward_model_that_is_wanted_and_not_there_is_told_before_training(here: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no reward model.*reward.enabled: true"):
        align.run(tiny_model.online_params("grpo", rewards=[MODEL]), 1)
    with pytest.raises(ParamsError, match="has no function `consonants`"):
        align.run(tiny_model.online_params("grpo", rewards=[{**FILE, "function": "consonants"}]), 1)


def test_fewer_prompts_than_a_step_has_are_told(here: Path) -> None:
    section = tiny_model.online_params("grpo", rewards=[FILE], rows=1, epochs=1, batch_size=4)
    with pytest.raises(DataError, match="1 prompts are less than a step's 2"):
        align.run(section, 1)


def test_an_answer_is_drawn_from_its_own_seed_whatever_stands_beside_it(here: Path) -> None:
    model = device.load_model(paths.SFT, CPU).eval()
    prompts = [[60, 61, 62], [70, 71], [80, 81, 82, 83, 84]]
    seeds = [sampling.seed_of(1, f"{n}", 4, 0) for n in range(3)]

    def draw(some: list[int]) -> list[list[int]]:
        return sampling.sample(model, [prompts[n] for n in some], [seeds[n] for n in some], 1.0, 8, [258], 258)

    whole = draw([0, 1, 2])
    assert draw([2, 0]) == [whole[2], whole[0]]
    assert [draw([n])[0] for n in range(3)] == whole
    assert (
        len(
            {
                sampling.seed_of(*one)
                for one in [(1, "a", 4, 0), (2, "a", 4, 0), (1, "b", 4, 0), (1, "a", 5, 0), (1, "a", 4, 1)]
            }
        )
        == 5
    )


def test_answers_are_drawn_as_often_as_the_model_and_the_temperature_say(here: Path) -> None:
    """Chi-square against the softmax of the logits, for one token."""
    import torch
    from scipy.stats import chisquare

    model = device.load_model(paths.SFT, CPU).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight[:] *= 8  # peaks, so that the test can fail
        logits = model(torch.tensor([[60, 61]])).logits[0, -1]
    n = 3000
    for temperature in (1.0, 2.0):
        seeds = [sampling.seed_of(3, "a", 0, index) for index in range(n)]
        drawn = [ids[0] for ids in sampling.sample(model, [[60, 61]] * n, seeds, temperature, 1, [258], 258)]
        expected = torch.softmax(logits.double() / temperature, -1).numpy()
        most = np.argsort(-expected)[:8]
        counts = [drawn.count(token) for token in most]
        shares = expected[most] * n
        found = chisquare([*counts, n - sum(counts)], [*shares, n - shares.sum()])
        assert found.pvalue > 0.001, temperature
