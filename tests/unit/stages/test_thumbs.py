"""Thumbs up and down through the stages: a record is an answer that was wanted or not, and each stage knows which."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from clew import io, ledger, params, paths, rows
from clew.cleaning import BY_ROW, RULES
from clew.cli import rows_cleaned
from clew.errors import DataError
from clew.lineage import explained
from clew.params_clean import Clean
from clew.stages import align, augment, balance, clean, prepare, reward, select, sft, split
from clew.training import choice
from examples import clean_rows, tiny_model

ROOT = Path(__file__).parents[3]
TASK: dict[str, Any] = {
    "source": "s",
    "files": "*.jsonl",
    "format": "jsonl",
    "missing": {},
    "system": None,
    "groups": {},
    "kind": "text",
    "prompt": "{{ prompt }}",
    "text": "{{ prompt }}",
    "completion": "{{ answer }}",
    "rejected": None,
    "wanted": {"thumb": "{{ thumb }}", "values": {"up": True, "down": False}},
}
DEFAULT = params.load(ROOT / "params.yaml").clean.model_dump(mode="json") | {"label_noise": None}
NO_RULE = dict.fromkeys(params.Clean.model_fields) | {"features": DEFAULT["features"], "downweight": 0.5}
KTO = {"beta": 0.1, "wanted_weight": 1.0, "unwanted_weight": 1.0, "row_weights": False}
TOPICS = ("sleep", "coughs", "a sore knee", "burns", "warts", "colds", "fever", "hay fever")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _declared(**task: Any) -> params.Prepare:
    declared = {"row_key": "public", "max_unfit": 0.5, "tasks": {"advice": TASK | task}}
    return params.Prepare.model_validate_json(json.dumps(declared))


def _prepare(records: list[dict[str, Any]], **task: Any) -> list[dict[str, Any]]:
    path = paths.RAW / "s" / "records.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    prepare.run(_declared(**task))
    return rows.read(paths.ROWS)


def _clean(records: list[dict[str, Any]], rules: dict[str, Any]) -> list[dict[str, Any]]:
    _prepare(records)
    clean.run(params.Clean.model_validate_json(json.dumps(NO_RULE | rules)), _declared(), 13)
    return rows.read(paths.CLEAN)


def _record(prompt: str, answer: str, thumb: str) -> dict[str, str]:
    return {"prompt": prompt, "answer": answer, "thumb": thumb}


def _answers(some: list[dict[str, Any]]) -> list[tuple[str | None, str | None]]:
    return [(row["completion"], row["rejected"]) for row in some]


def _decisions(stage: str) -> list[tuple[str, str | None]]:
    return [(entry["decision"], entry["rule"]) for entry in ledger.read(stage)]


def _many(count: int) -> list[dict[str, str]]:
    """Of each prompt an answer that was wanted and one that was not."""
    return [
        _record(f"Please tell me what helps against {TOPICS[n % 8]} in week {n} of it", answer, thumb)
        for n in range(count)
        for answer, thumb in ((f"Rest for {n} days.", "up"), (f"Pray for {n} days.", "down"))
    ]


def test_a_thumb_says_on_which_side_the_answer_is() -> None:
    found = _prepare([_record("Q?", "Rest.", "up"), _record("Q?", "Pray.", "down"), _record("Q?", "Hm.", "sideways")])
    assert _answers(found) == [("Rest.", None), (None, "Pray.")]
    assert _decisions("prepare")[2] == ("dropped", "unknown_thumb")
    figures = io.read_json(paths.PREPARE_METRICS)["advice"]
    assert figures["answers"] == {"wanted": 1, "unwanted": 1}
    assert figures["unfit"] == {"unknown_thumb": 1}


def test_without_the_key_all_answers_are_wanted() -> None:
    found = _prepare([_record("Q?", "Rest.", "up"), _record("Q?", "Pray.", "down")], wanted=None)
    assert _answers(found) == [("Rest.", None), ("Pray.", None)]
    assert "answers" not in io.read_json(paths.PREPARE_METRICS)["advice"]


@pytest.mark.parametrize("thumb", ["up", "down"])
def test_an_empty_answer_is_dropped_and_an_unwanted_one_is_never_filled(thumb: str) -> None:
    records = [_record("Q?", "Rest.", "up"), _record("R?", " ", thumb), _record("S?", "Pray.", "down")]
    drop = {"text": "drop", "completion": "drop", "label": "drop"}
    kept = [("Rest.", None), (None, "Pray.")]
    assert _answers(_clean(records, {"missing": drop})) == kept
    assert _decisions("clean") == [("kept", None), ("dropped", "missing"), ("kept", None)]
    filled = _answers(_clean(records, {"missing": drop | {"completion": {"impute": "most_frequent", "value": None}}}))
    assert filled == (kept if thumb == "down" else [kept[0], ("Rest.", None), kept[1]])
    with pytest.raises(DataError, match="completion is empty, and"):
        _clean(records, {"missing": drop | {"completion": "fail"}})
    with pytest.raises(DataError, match="1 rows have no answer"):
        _clean(records, {})


def test_personal_data_and_damage_are_taken_out_of_unwanted_answers_too() -> None:
    records = [_record("Whom may I ask?", "Mail ann@example.org <b>now</b>\u200b.", thumb) for thumb in ("up", "down")]
    rules = {name: DEFAULT[name] for name in ("hygiene", "personal_data")}
    assert _answers(_clean(records, rules)) == [
        ("Mail <EMAIL_ADDRESS> now.", None),
        (None, "Mail <EMAIL_ADDRESS> now."),
    ]
    nothing = [_record("Whom may I ask?", "Ask Ann.", "up"), _record("Whom may I ask?", "<br>", "down")]
    assert _answers(_clean(nothing, rules)) == [("Ask Ann.", None)]
    assert _decisions("clean")[1] == ("dropped", "hygiene")


def test_copies_are_rows_with_one_judged_answer_and_what_was_said_both_ways_is_a_contradiction() -> None:
    prompt = "What helps against a cough that does not go away for weeks"
    records = [
        _record(prompt, "Honey.", "up"),
        _record(prompt, "Honey!", "up"),  # a copy
        _record(prompt, "Tea.", "up"),
        _record(prompt, "Leeches.", "down"),
        _record(f"{prompt} please", "leeches", "down"),  # nearly one
        _record(prompt, "Smoke.", "up"),
        _record(prompt, "smoke", "down"),  # both ways
    ]
    rules = {name: DEFAULT[name] for name in ("contradictions", "duplicates", "near_duplicates")}
    found = _clean(records, rules)
    assert _answers(found) == [("Honey.", None), ("Tea.", None), (None, "Leeches.")]
    dropped = [rule for decision, rule in _decisions("clean") if decision == "dropped"]
    assert dropped == ["duplicates", "near_duplicates", "contradictions", "contradictions"]
    assert len({row["cluster"] for row in found}) == 1
    assert found[0]["cluster"] == found[0]["row_id"]
    details = {entry["rule"]: entry["detail"] for entry in ledger.read("clean")}
    assert details["contradictions"] == "the answer 1 × wanted, 1 × unwanted"


def test_rules_about_what_is_learnt_leave_unwanted_answers_alone() -> None:
    bad = {
        "refusal": "As an AI language model, I cannot help with that.",
        "repetition": "take one pill a day " * 8,
        "truncated": "The patient denies chest pain and",
    }
    records = [
        _record(f"What helps against {rule} at night", bad[rule], thumb) for rule in bad for thumb in ("up", "down")
    ]
    found = _clean(records, {rule: DEFAULT[rule] | {"action": "drop"} for rule in bad})
    assert _answers(found) == [(None, answer.strip()) for answer in bad.values()]


OWN_MODEL = ("toxicity",)
"""Rules that want a classifier of the user's."""
OF_LABELS = ("annotators", "label_noise", "token_labels")
SETTINGS: dict[str, Any] = {
    "relevance": {"tasks": ["t"], "threshold": 0.0, "action": "review"},
    "mismatch": {"tasks": ["t"], "share": 0.5, "threshold": 0.0, "action": "review"},
    "outliers": {"tasks": ["t"], "neighbours": 3, "threshold": 0.1, "action": "review", "near_duplicates": "drop"},
}


@pytest.mark.parametrize("name", [name for name in RULES if name not in (*OWN_MODEL, *OF_LABELS, "preferences")])
def test_no_rule_stumbles_over_a_row_without_completion(name: str) -> None:
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    some = [
        clean_rows.row(
            f"What helps against {topic} {words[n]}", None, choices=None, completion=None, rejected=f"Pray, {topic}."
        )
        for n, topic in enumerate(TOPICS)
    ]
    context = clean_rows.CONTEXT._replace(objective=clean_rows.objective("advice on health"))
    declared = SETTINGS.get(name, DEFAULT[name])
    rule = getattr(Clean.model_validate_json(json.dumps(NO_RULE | {name: declared})), name)
    seen = clean_rows.table(some) if name in BY_ROW else clean_rows.stored(some)
    found = RULES[name](seen, rule, context)
    assert not [finding for finding in found.by_position.values() if finding.action == "drop"]


def _split(**limits: int) -> params.Split:
    whole = params.load(ROOT / "params.yaml").split
    sides = params.Sides(**({"train": 400, "valid": 400, "test": 400} | limits))
    return whole.model_copy(update={"limits": {"advice": sides}, "contamination": None})


def test_a_test_side_has_wanted_answers_only_and_limits_keep_both_kinds() -> None:
    _clean(_many(120), {})
    split.run(_split(train=60, test=10), 13)
    found = {side: rows.read(paths.SPLITS / f"{side}.parquet") for side in ("train", "valid", "test")}
    assert all(row["completion"] is not None for row in found["test"])
    assert len(found["test"]) == 10
    assert Counter(map(rows.is_unwanted, found["train"])) == {True: 30, False: 30}
    assert any(map(rows.is_unwanted, found["valid"]))
    told = io.read_json(paths.SPLIT_METRICS)
    unwanted = [entry for entry in ledger.read("split") if entry["rule"] == "unwanted"]
    assert {(entry["decision"], entry["detail"]) for entry in unwanted} == {("dropped", "test")}
    assert told["dropped"]["unwanted"] == len(unwanted) > 10
    assert told["by_task"]["advice"]["labels"]["unwanted"]["train"] == 30
    sides = [{row["text"] for row in some} for some in found.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))


def _to_train(records: list[dict[str, Any]], **augmentation: Any) -> list[dict[str, Any]]:
    """prepare … balance; the rows of data/train.parquet."""
    _clean(
        records,
        {name: DEFAULT[name] for name in ("missing", "duplicates", "near_duplicates")} | {"near_duplicates": None},
    )
    split.run(_split(train=40, valid=8, test=8), 13)
    whole = params.load(ROOT / "params.yaml")
    chosen = {"enabled": True, "keep": {"advice": 20}, "score": None, "diversity": None}
    select.run(params.Select.model_validate(chosen), 13)
    off = dict.fromkeys(("synonyms", "typos", "prompts", "upsample"))
    tasks = {"advice": off | augmentation} if augmentation else {}
    section = params.Augment.model_validate_json(json.dumps({"enabled": bool(augmentation), "tasks": tasks}))
    augment.run(section, whole.prepare, 13)
    balance.run(params.Balance(audits=(), reweigh=True))
    return rows.read(paths.TRAIN)


def test_select_keeps_the_share_of_wanted_answers_and_what_is_made_of_an_unwanted_one_is_unwanted() -> None:
    train = _to_train(_many(60), typos={"rate": 0.02, "copies": 1})
    told = io.read_json(paths.SELECT_METRICS)["tasks"]["advice"]["labels"]
    assert {name: figures["out"] for name, figures in told.items()} == {"unwanted": 10, "wanted": 10}
    assert len(train) == 40
    by_id = {row["row_id"]: row for row in train}
    children = [row for row in train if row["parent_ids"]]
    assert len(children) == 20
    for child in children:
        parent = by_id[child["parent_ids"][0]]
        assert (child["completion"], child["rejected"]) == (parent["completion"], parent["rejected"])
        assert child["text"] != parent["text"]


@pytest.mark.slow
def test_sft_imitates_wanted_answers_and_kto_learns_from_both() -> None:
    train = _to_train(_many(60))
    unwanted = {row["row_id"] for row in train if rows.is_unwanted(row)}
    tiny_model.write(paths.BASE)
    sft.run(tiny_model.sft_params(epochs=1), tiny_model.DECODER, 1)
    entries = ledger.read("sft")
    assert {entry["row_id"] for entry in entries if entry["rule"] == "unwanted"} == unwanted
    assert {entry["decision"] for entry in entries if entry["rule"] == "unwanted"} == {"dropped"}
    counted = io.read_json(paths.SFT_METRICS)["rows"]
    valid = sum(map(rows.is_unwanted, rows.read(paths.SPLITS / "valid.parquet")))
    assert counted["train"] == counted["fed"] == 10
    assert counted["unwanted"] == {"train": 10, "valid": valid}
    assert valid > 0
    fed = pq.read_table(paths.fed("sft"))["row_id"].to_pylist()
    assert not unwanted & set(fed)

    paths.REWARDS.mkdir()
    with pytest.raises(DataError, match="no training row of task `advice` has both a wanted and an unwanted answer"):
        reward.run(tiny_model.reward_params(tasks=("advice",)), 1)
    reward.run(tiny_model.reward_params(enabled=False), 1)
    with pytest.raises(DataError, match="has both a wanted and an unwanted answer"):
        align.run(tiny_model.align_params(tasks=("advice",), lora=tiny_model.LORA | {"dropout": 0.0}), 1)
    lora = {**tiny_model.LORA, "dropout": 0.0}
    align.run(tiny_model.align_params(tasks=("advice",), lora=lora, rows=40, algorithm="kto", dpo=None, kto=KTO), 1)
    assert io.read_json(paths.ALIGN_METRICS)["answers"] == {"all": 20, "fed": 40, "wanted": 10, "unwanted": 10}
    assert "dropped" not in dict(_decisions("align"))


def test_sft_without_a_wanted_answer_says_so() -> None:
    tiny_model.write(paths.BASE)
    for path in (paths.TRAIN, paths.SPLITS / "valid.parquet"):
        rows.write(path, [tiny_model.row(n, completion=None, rejected="no") for n in range(3)])
    with pytest.raises(DataError, match="all 3 answers are unwanted, and there is none to imitate"):
        sft.run(tiny_model.sft_params(), tiny_model.DECODER, 1)


def test_a_single_answer_is_no_pair() -> None:
    for changes, why in (
        ({"rejected": None}, "no_rejected_answer"),
        ({"completion": None, "rejected": "no"}, "no_wanted_answer"),
    ):
        with pytest.raises(choice.Unfit) as unfit:
            choice.check_pair(tiny_model.row(1, **changes))
        assert unfit.value.rule == why


def test_a_story_tells_that_an_answer_was_unwanted() -> None:
    (row,) = _clean([_record("Q?", "Pray.", "down")], {})
    assert "  unwanted answer: Pray." in list(rows_cleaned._story(explained.Explained(row, (), ())))
