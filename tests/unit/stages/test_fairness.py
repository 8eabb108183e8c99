from pathlib import Path

import pytest

from clew import io, params, paths
from clew.errors import DataError
from clew.fairness import measures
from clew.stages import fairness
from examples import help_desk

STRESS = params.Audit(task="stress", attribute="pronoun", privileged="he", unprivileged="she", favorable="yes")
VIGNETTES = params.Audit(
    task="vignettes", attribute="patient", privileged="male", unprivileged="female", favorable="correct"
)
SIZES = {"stress": 200, "vignettes": 90, "dialogues": 3}
PREDICT = params.Predict(variants=("base", "sft"), batch_size=1, max_length=1, max_new_tokens=1, precision="auto")


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    help_desk.write(("base", "sft"), SIZES)


def section(*audits: params.Audit) -> params.Fairness:
    return params.Fairness(audits=audits, resamples=200, confidence=0.95)


def test_it_writes_every_measure_of_every_audit_of_every_variant() -> None:
    assert fairness.run(section(STRESS, VIGNETTES), PREDICT, 13) == {}
    found = io.read_json(paths.FAIRNESS)
    assert {variant: {task: list(own) for task, own in tasks.items()} for variant, tasks in found.items()} == {
        variant: {"stress": ["pronoun"], "vignettes": ["patient"]} for variant in ("base", "sft")
    }
    stress = found["sft"]["stress"]["pronoun"]
    assert set(stress) == {*measures.DIFFERENCES, *measures.BY_GROUP, "n", "audit"}
    rows = [row for row in help_desk.predictions("sft", SIZES) if row["task"] == "stress"]
    groups = [row["groups"].get("pronoun", "neither") for row in rows]
    assert stress["n"] == {group: groups.count(group) for group in ("he", "she", "neither")}
    assert stress["audit"] == {"privileged": "he", "unprivileged": "she", "favorable": "yes"}
    assert stress["statistical_parity_difference"]["value"] < 0, "the example is biased against `she`"
    patient = found["sft"]["vignettes"]["patient"]
    assert patient["average_odds_difference"]["value"] is None
    assert "no false-positive rate" in patient["average_odds_difference"]["reason"]


def test_the_plot_has_bars_for_groups_and_for_differences() -> None:
    fairness.run(section(STRESS, VIGNETTES), PREDICT, 13)
    found = io.read_json(paths.FAIRNESS)["sft"]
    lines = [line for line in io.read_csv(paths.FAIRNESS_PLOT) if line["variant"] == "sft"]
    table = {(line["task"], line["measure"], line["group"]): line for line in lines}
    assert float(table["stress", "accuracy", "she"]["value"]) == found["stress"]["pronoun"]["accuracy"]["she"]["value"]
    parity = table["stress", "statistical_parity_difference", "she vs he"]
    assert float(parity["low"]) == found["stress"]["pronoun"]["statistical_parity_difference"]["low"]
    assert ("vignettes", "average_odds_difference", "female vs male") not in table


def test_the_same_predictions_and_seed_give_the_same_bytes() -> None:
    made = []
    for seed in (1, 1, 2):
        fairness.run(section(STRESS, VIGNETTES), PREDICT, seed)
        made.append(paths.FAIRNESS.read_bytes() + paths.FAIRNESS_PLOT.read_bytes())
    assert made[0] == made[1] != made[2]


def test_an_audit_does_not_depend_on_those_beside_it() -> None:
    fairness.run(section(STRESS), PREDICT, 1)
    alone = io.read_json(paths.FAIRNESS)["sft"]["stress"]
    fairness.run(section(VIGNETTES, STRESS), PREDICT, 1)
    assert io.read_json(paths.FAIRNESS)["sft"]["stress"] == alone


def test_without_audits_the_files_are_empty_but_there() -> None:
    fairness.run(section(), PREDICT, 1)
    assert io.read_json(paths.FAIRNESS) == {"base": {}, "sft": {}}
    assert io.read_csv(paths.FAIRNESS_PLOT) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "vignete"}, r"fairness.audits\[1\]: there are no rows of task `vignete` \(did you mean `vignettes`"),
        ({"unprivileged": "they"}, r"audits\[1\]: no row of task vignettes has patient `they`; the values that occur"),
        ({"task": "dialogues"}, r"no row of task dialogues has patient `male`; the values that occur are: none"),
        ({"favorable": "right"}, "has `right` as label or choice"),
    ],
)
def test_an_audit_that_cannot_be_made_says_which_and_why(changes: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        fairness.run(section(STRESS, VIGNETTES.model_copy(update=changes)), PREDICT, 1)
    assert not paths.FAIRNESS.exists()
