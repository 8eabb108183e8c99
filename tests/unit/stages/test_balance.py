from pathlib import Path

import pytest

from clew import io, ledger, params, paths, rows
from clew.errors import DataError
from clew.stages import balance
from examples import help_desk

AUDIT = params.Audit(task="stress", attribute="pronoun", privileged="he", unprivileged="she", favorable="yes")


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows.write(paths.AUGMENTED, help_desk.train())


def section(*audits: params.Audit, reweigh: bool = True) -> params.Balance:
    return params.Balance(audits=audits, reweigh=reweigh)


def without_weight(found: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "weight"} for row in found]


def test_weights_change_and_nothing_else_does() -> None:
    assert balance.run(section(AUDIT)) == {}
    before, after = help_desk.train(), rows.read(paths.TRAIN)
    assert without_weight(before) == without_weight(after)
    for row in after:
        assert (row["weight"] != 1.0) == bool(row["groups"]), "rows of neither group keep their weight"
    assert sum(row["weight"] for row in after) == pytest.approx(len(after))


def test_the_labels_are_fair_afterwards_and_it_says_how_they_were() -> None:
    balance.run(section(AUDIT))
    found = io.read_json(paths.DATA_BIAS)["stress"]["pronoun"]
    by_group = {
        group: [row["label"] == "yes" for row in help_desk.train() if row["groups"].get("pronoun") == group]
        for group in ("he", "she")
    }
    rate = {group: sum(own) / len(own) for group, own in by_group.items()}
    before, after = found["before"], found["after"]
    assert before["mean_difference"]["value"] == pytest.approx(rate["she"] - rate["he"], abs=1e-6)
    assert before["disparate_impact"]["value"] == pytest.approx(rate["she"] / rate["he"], abs=1e-6)
    assert before["base_rate"]["he"]["value"] == pytest.approx(rate["he"], abs=1e-6)
    assert after["mean_difference"]["value"] == 0
    assert after["disparate_impact"]["value"] == 1
    assert found["n"]["she"] == {"yes": sum(by_group["she"]), "no": len(by_group["she"]) - sum(by_group["she"])}
    assert found["audit"] == {"privileged": "he", "unprivileged": "she", "favorable": "yes"}


def test_the_ledger_accounts_for_every_row_with_its_new_weight() -> None:
    balance.run(section(AUDIT))
    entries, after = ledger.read("balance"), rows.read(paths.TRAIN)
    assert [entry["row_id"] for entry in entries] == [row["row_id"] for row in after]
    for entry, row in zip(entries, after, strict=True):
        if row["groups"]:
            assert (entry["decision"], entry["rule"]) == ("changed", "reweighing")
            assert entry["score"] == pytest.approx(row["weight"], abs=1e-6)
            assert entry["detail"] == "weight 1 before"
        else:
            assert (entry["decision"], entry["rule"], entry["score"]) == ("kept", None, None)


def test_reweigh_false_measures_and_leaves_the_rows_alone() -> None:
    balance.run(section(AUDIT, reweigh=False))
    assert rows.read(paths.TRAIN) == help_desk.train()
    assert {entry["decision"] for entry in ledger.read("balance")} == {"kept"}
    found = io.read_json(paths.DATA_BIAS)["stress"]["pronoun"]
    assert found["before"] == found["after"]
    assert found["before"]["mean_difference"]["value"] < 0


def test_without_audits_rows_pass_through() -> None:
    balance.run(section())
    assert rows.read(paths.TRAIN) == help_desk.train()
    assert io.read_json(paths.DATA_BIAS) == {}


def test_weights_of_an_earlier_stage_are_multiplied() -> None:
    """A doubted label weighs less, before and after; the weighted labels are fair."""
    doubted = [row | {"weight": 0.5 if index % 3 == 0 else 1.0} for index, row in enumerate(help_desk.train())]
    rows.write(paths.AUGMENTED, doubted)
    balance.run(section(AUDIT))
    ratios = {}
    for old, new in zip(doubted, rows.read(paths.TRAIN), strict=True):
        cell = (old["groups"].get("pronoun"), old["label"] if old["groups"] else None)
        ratios.setdefault(cell, set()).add(round(new["weight"] / old["weight"], 12))
    assert all(len(found) == 1 for found in ratios.values()), "one factor a group and label"
    assert io.read_json(paths.DATA_BIAS)["stress"]["pronoun"]["after"]["mean_difference"]["value"] == 0


def test_two_attributes_are_reweighed_in_turn_and_both_measured_at_the_end() -> None:
    aged = [
        row | {"groups": row["groups"] | {"age": "old" if index % 3 else "young"}}
        for index, row in enumerate(help_desk.train())
    ]
    rows.write(paths.AUGMENTED, aged)
    by_age = AUDIT.model_copy(update={"attribute": "age", "privileged": "old", "unprivileged": "young"})
    balance.run(section(AUDIT, by_age))
    found = io.read_json(paths.DATA_BIAS)["stress"]
    assert found["age"]["after"]["mean_difference"]["value"] == 0, "the last one is met exactly"
    first = found["pronoun"]
    assert abs(first["after"]["mean_difference"]["value"]) < abs(first["before"]["mean_difference"]["value"])


def test_the_same_rows_give_the_same_bytes() -> None:
    outs = (paths.TRAIN, paths.ledger("balance"), paths.DATA_BIAS)
    balance.run(section(AUDIT))
    first = [out.read_bytes() for out in outs]
    balance.run(section(AUDIT))
    assert [out.read_bytes() for out in outs] == first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "stres"}, r"balance.audits\[0\]: there are no rows of task `stres` \(did you mean `stress`\?\)"),
        ({"privileged": "hee"}, r"no row of task stress has pronoun `hee`; the values that occur are: he \(\d+\), she"),
        ({"favorable": "correct"}, "every training label is right"),
    ],
)
def test_an_audit_that_cannot_be_made_stops_before_anything_is_written(changes: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        balance.run(section(AUDIT.model_copy(update=changes)))
    assert not paths.TRAIN.exists()
    assert not paths.DATA_BIAS.exists()


def test_one_class_only_is_refused() -> None:
    one = [row | {"label": "no"} if row["task"] == "stress" else row for row in help_desk.train()]
    rows.write(paths.AUGMENTED, one)
    with pytest.raises(DataError, match="the labels of task stress are of one class only: none of"):
        balance.run(section(AUDIT))
