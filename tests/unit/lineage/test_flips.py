"""What another threshold would flip is what a run with it does flip; a row's story has every score with its margin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew import ledger, paths, rows
from clew.cli.main import app
from clew.errors import ClewError
from clew.lineage import explained, flips
from examples import noisy_posts


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    noisy_posts.run(noisy_posts.declared())


def _found(rule: str) -> set[str]:
    """The rows that a rule found in the last run, whatever became of them."""
    return {
        entry["row_id"]
        for entry in ledger.read("clean")
        if rule in (entry["rule"], *(also["rule"] for also in entry["also"] or ()))
    }


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("label_noise.threshold=0.1", {"label_noise": {"threshold": 0.1}}),
        ("label_noise.threshold=0", {"label_noise": {"threshold": 0.0}}),
        ("length.min_words=3", {"length": {"min_words": 3}}),
        ("length.max_words=9", {"length": {"max_words": 9}}),
    ],
)
def test_flips_are_those_of_a_run(setting: str, changes: dict[str, dict[str, float]]) -> None:
    rule = setting.partition(".")[0]
    before = _found(rule)
    told = flips.flips(f"clean.{setting}")
    p = noisy_posts.declared().clean.model_dump()
    noisy_posts.run(noisy_posts.declared(**{name: p[name] | change for name, change in changes.items()}))
    after = _found(rule)
    assert {row.row_id for row in told.newly} == after - before
    assert {row.row_id for row in told.no_longer} == before - after
    assert before != after
    assert told.found == (len(before) if setting != "length.max_words=9" else 0)


def test_rows_are_listed_the_surest_first_with_what_became_of_them() -> None:
    done = CliRunner().invoke(app, ["rows", "flips", "clean.label_noise.threshold=0"])
    assert done.exit_code == 0, done.output
    assert "clean.label_noise.threshold: 0.5 → 0" in done.output
    assert f"no longer found: {len(_found('label_noise'))}" in done.output
    told = json.loads(CliRunner().invoke(app, ["rows", "flips", "label_noise.threshold=0", "--json"]).output)
    margins = [abs(row["margin"]) for row in told["no_longer"]]
    assert margins == sorted(margins, reverse=True)
    assert {row["now"] for row in told["no_longer"]} == {"kept"}


def test_a_score_that_was_read_works_as_a_threshold() -> None:
    doubted = [entry for entry in ledger.read("clean") if entry["rule"] == "label_noise"]
    one = sorted(doubted, key=lambda entry: entry["score"])[len(doubted) // 2]
    told = flips.flips(f"clean.label_noise.threshold={one['score']}")
    label_noise = noisy_posts.declared().clean.model_dump()["label_noise"] | {"threshold": one["score"]}
    noisy_posts.run(noisy_posts.declared(label_noise=label_noise))
    after = _found("label_noise")
    assert one["row_id"] not in after
    assert after == {entry["row_id"] for entry in doubted} - {row.row_id for row in told.no_longer}


def test_rows_that_a_person_decided_about_are_counted_apart() -> None:
    one = next(entry["row_id"] for entry in ledger.read("clean") if entry["rule"] == "label_noise")
    before = flips.flips("clean.label_noise.threshold=0")
    paths.REVIEW_DECISIONS.mkdir(parents=True)
    said = {"row_id": one, "decision": "keep", "label": None, "by": "ada", "on": "2026-03-01"}
    (paths.REVIEW_DECISIONS / "a.jsonl").write_text(json.dumps(said) + "\n")
    noisy_posts.run(noisy_posts.declared())
    told = flips.flips("clean.label_noise.threshold=0")
    assert (before.settled, told.settled) == (0, 1)
    assert {row.row_id for row in before.no_longer} - {row.row_id for row in told.no_longer} == {one}
    printed = CliRunner().invoke(app, ["rows", "flips", "clean.label_noise.threshold=0"]).output
    assert "not counted: 1 that a person decided about" in printed


def test_below_the_threshold_of_near_duplicates_not_all_pairs_were_measured() -> None:
    rule = {"action": "drop", "threshold": 0.8, "shingle": 1, "permutations": 128}
    noisy_posts.run(noisy_posts.declared(near_duplicates=rule))
    assert flips.flips("clean.near_duplicates.threshold=0.5").at_least
    assert not flips.flips("clean.near_duplicates.threshold=0.9").at_least
    assert "→ at least" in CliRunner().invoke(app, ["rows", "flips", "near_duplicates.threshold=0.5"]).output


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("clean.label_nois.threshold=1", "Did you mean clean.label_noise.threshold?"),
        ("clean.length.min_words=a", "'a' is no number"),
        ("clean.length.min_words", "there is no `=`"),
        ("clean.length.min_words=2.5", "clean.length.min_words: Input should be a valid integer"),
        ("clean.length.min_words=-3", "clean.length.min_words: Input should be greater than"),
        ("clean.label_noise.threshold=7", "clean.label_noise.threshold: Input should be less than or equal to 1"),
        ("clean.relevance.threshold=1", "the rule was off in the last run"),
    ],
)
def test_what_is_no_setting_is_told(setting: str, said: str) -> None:
    with pytest.raises(ClewError, match=said.replace("?", "[?]")):
        flips.flips(setting)


def test_before_a_run_it_is_told_what_to_do() -> None:
    Path("dvc.lock").unlink()
    with pytest.raises(ClewError, match="dvc repro clean"):
        flips.flips("clean.length.min_words=2")


def test_a_row_is_explained_with_every_score_and_its_margin() -> None:
    entry = next(one for one in ledger.read("clean") if one["rule"] == "label_noise")
    (one,) = explained.explain(entry["row_id"][:12])
    assert [stage for stage, _ in one.entries] == ["prepare", "clean"]
    by_name = {measured.name: measured for measured in one.measured}
    assert set(by_name) == {"length.min_words", "length.max_words", "label_noise.threshold"}
    assert by_name["length.min_words"].margin < 0 < by_name["label_noise.threshold"].margin
    done = CliRunner().invoke(app, ["rows", "explain", entry["row_id"][:12]])
    assert done.exit_code == 0, done.output
    assert "clean: kept, and found by label_noise (score" in done.output
    assert "length.min_words" in done.output


def test_a_row_that_augment_made_is_explained_from_there() -> None:
    (parent,) = rows.read(paths.CLEAN)[:1]
    child = parent | {"row_id": "f" * 64, "parent_ids": [parent["row_id"]]}
    rows.write(paths.AUGMENTED, [parent, child])
    entries = [ledger.entry(parent, "augment", "kept"), ledger.entry(child, "augment", "added", "upsample")]
    ledger.write("augment", entries, rows_in=1, rows_out=2)
    (one,) = explained.explain("f" * 12)
    assert (one.row["row_id"], one.measured) == (child["row_id"], ())
    assert [(stage, entry["decision"]) for stage, entry in one.entries] == [("augment", "added")]
    told = CliRunner().invoke(app, ["rows", "explain", "f" * 12]).output
    assert f"made from: {parent['row_id']}" in told
    assert "made from" not in CliRunner().invoke(app, ["rows", "explain", parent["row_id"]]).output


def test_rows_that_are_not_there_are_told() -> None:
    with pytest.raises(ClewError, match=r"no row of data/rows\.parquet begins so"):
        explained.explain("0" * 12)
    with pytest.raises(ClewError, match="not a row id"):
        explained.explain("xyz")
    paths.SCORES.unlink()
    with pytest.raises(ClewError, match="dvc checkout"):
        flips.flips("clean.length.min_words=2")
