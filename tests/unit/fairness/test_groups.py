from typing import Any

import pytest

from clew import params
from clew.errors import DataError
from clew.fairness import groups
from examples import help_desk

AUDIT = {"task": "stress", "attribute": "pronoun", "privileged": "he", "unprivileged": "she", "favorable": "yes"}
ROWS = help_desk.predictions("sft", {"stress": 60, "vignettes": 30, "dialogues": 3})
WHERE = "params.yaml: fairness.audits[0]"


def audit(**changes: str) -> params.Audit:
    return params.Audit(**(AUDIT | changes))


def test_members_are_the_rows_of_the_task_in_either_group() -> None:
    found = groups.members(audit(), ROWS, where=WHERE)
    expected = [row for row in ROWS if row["task"] == "stress" and row["groups"].get("pronoun") in ("he", "she")]
    assert found.rows == expected
    assert [ROWS[index] for index in found.positions] == expected
    assert [row["groups"]["pronoun"] == "he" for row in expected] == found.privileged.tolist()
    assert found.neither == 60 - len(expected) > 0


def test_a_third_value_is_in_neither_group() -> None:
    rows = [row | {"groups": {"pronoun": "they"}} for row in ROWS[:10]] + ROWS[10:]
    before, after = (groups.members(audit(), some, where=WHERE) for some in (ROWS, rows))
    assert len(after.rows) + after.neither == 60
    assert after.neither > before.neither


def test_rows_without_groups_are_in_neither() -> None:
    rows = [row | {"groups": None} for row in ROWS[:10]] + ROWS[10:]
    assert groups.members(audit(), rows, where=WHERE).neither >= 10


def favorable(asked: params.Audit, rows: list[dict[str, Any]], column: str = "label") -> list[bool]:
    found = groups.members(asked, rows, where=WHERE)
    return groups.favorable(asked, found.rows, column, where=WHERE).tolist()


def message(changes: dict[str, str], rows: list[dict[str, Any]] = ROWS) -> str:
    with pytest.raises(DataError) as error:
        favorable(audit(**changes), rows)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_task_that_does_not_exist_names_the_nearest() -> None:
    assert message({"task": "stres"}) == (
        "params.yaml: fairness.audits[0]: there are no rows of task `stres` (did you mean `stress`?). "
        "Correct `task`, or raise its limits in split.limits."
    )
    assert "there are: dialogues, stress, vignettes" in message({"task": "zzz"})


def test_a_group_with_no_members_names_the_values_that_occur() -> None:
    he = sum(row["groups"].get("pronoun") == "he" for row in ROWS)
    she = sum(row["groups"].get("pronoun") == "she" for row in ROWS)
    assert message({"unprivileged": "they"}) == (
        "params.yaml: fairness.audits[0]: no row of task stress has pronoun `they`; "
        f"the values that occur are: he ({he}), she ({she}). "
        "Correct `privileged` or `unprivileged`, or take more rows."
    )
    assert "no row of task stress has patient `he`; the values that occur are: none" in message(
        {"attribute": "patient"}
    )


def test_a_favorable_label_that_no_row_has_names_the_nearest() -> None:
    assert "no row of task stress has `yess` as label or choice (did you mean `yes`?)" in message({"favorable": "yess"})


def test_free_text_has_nothing_favorable() -> None:
    rows = [row | {"groups": {"pronoun": "he" if index else "she"}} for index, row in enumerate(ROWS[-3:])]
    assert "task dialogues has rows without a label" in message({"task": "dialogues"}, rows)


def test_a_label_that_is_only_a_choice_is_known() -> None:
    """A test sample may lack the favourable label; that is no mistake in params.yaml."""
    rows = [row | {"label": "no"} for row in ROWS if row["task"] == "stress"]
    assert not any(favorable(audit(), rows))


def test_correct_is_being_answered_rightly() -> None:
    asked = audit(task="vignettes", attribute="patient", privileged="male", unprivileged="female", favorable="correct")
    audited = [row for row in ROWS if row["groups"].get("patient")]
    assert favorable(asked, ROWS) == [True] * len(audited)
    right = [row["prediction"] == row["label"] for row in audited]
    assert favorable(asked, ROWS, "prediction") == right
    assert True in right
    assert False in right


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"unprivileged": "he"}, "privileged and unprivileged are the same group `he`"),
        ({"privileged": "neither"}, "`neither` is what rows outside both groups are counted as"),
    ],
)
def test_params_refuse_groups_that_cannot_be_compared(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        audit(**changes)


def test_params_refuse_two_audits_whose_numbers_have_one_place() -> None:
    with pytest.raises(ValueError, match="pronoun of task stress is audited twice"):
        params.Balance(audits=(audit(), audit(favorable="no")), reweigh=True)
    assert params.Balance(audits=(audit(), audit(attribute="age")), reweigh=True)
