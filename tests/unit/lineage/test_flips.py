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


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("clean.label_nois.threshold=1", "Did you mean clean.label_noise.threshold?"),
        ("clean.length.min_words=a", "'a' is no number"),
        ("clean.length.min_words", "there is no `=`"),
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
