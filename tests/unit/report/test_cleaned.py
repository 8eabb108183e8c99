"""What the page shows of cleaning is what the ledger and the rows say, and no personal data as it came."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from clew import ledger, paths, rows
from clew.report import cleaned, page
from clew.report.cleaned import Cleaned, Example
from clew.report.experiment import Experiment
from clew.report.sections import cleaning, data
from examples import noisy_posts


def _shown(run: Experiment, **values: object) -> str:
    """The section's HTML, of an experiment with other values."""
    env = page.environment()
    return env.get_template("cleaning.html").render(cleaning.build(replace(run, **values)))  # type: ignore[arg-type]


def test_a_funnel_ends_at_the_rows_that_the_split_has(run: Experiment) -> None:
    for source in run.params["fetch_data"]["sources"]:
        steps = cleaning.funnel(run, source)["steps"]
        used = sum(d.n for d in run.decisions if (d.stage, d.source, d.decision) == ("split", source, "kept"))
        assert steps[-1]["left"] == used
        assert all(before["left"] - after["taken"] == after["left"] for before, after in pairwise(steps))


def test_the_offending_part_is_marked_and_long_texts_are_cut(run: Experiment) -> None:
    text = "a" * 1000 + "<b>" + "c" * 1000
    one = Example("0" * 64, "s", text, "changed", 3.0, 2.0, "markup", 1000, 1003)
    html = _shown(run, cleaned=Cleaned({"hygiene": [one]}, {}))
    assert "<mark>&lt;b&gt;</mark>" in html
    assert "a" * 161 not in html
    assert "score 3, threshold 2" in html


def test_labels_are_counted_before_and_after(run: Experiment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = cleaned.read(None).balance["stress"]
    for place, path in enumerate((paths.ROWS, paths.CLEAN, paths.TRAIN)):
        for label in ("yes", "no"):
            here = [row for row in rows.read(path) if (row["task"], row["label"]) == ("stress", label)]
            assert found[label][place] == len(here)
    assert "Labels before and after" in _shown(run)


def test_annotators_are_shown_the_best_first(run: Experiment) -> None:
    people = {"ada": {"n": 10, "quality": 0.5}, "bo": {"n": 12, "quality": 0.9}}
    html = _shown(run, clean={**run.clean, "annotators": {"stress": {"alpha": 0.71, "annotators": people}}})
    assert html.index("bo") < html.index("ada")
    assert "0.71" in html


def test_examples_are_the_surest_of_each_rule_and_stand_as_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    noisy_posts.run(noisy_posts.declared())
    rows.write(paths.TRAIN, rows.read(paths.CLEAN))
    found = cleaned.read(None).examples
    doubted = [entry for entry in ledger.read("clean") if entry["rule"] == "label_noise"]
    assert [one.score for one in found["label_noise"]] == sorted(entry["score"] for entry in doubted)[:3]
    assert found["length"][0].text == "far too short"


def test_personal_data_is_on_the_page_only_masked_whatever_rule_found_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    with (paths.RAW / "dreaddit/posts.jsonl").open("a") as file:
        file.write('{"text": "mail ann@example.org", "label": "1"}\n')
        file.write('{"text": "please do mail me at bo@example.org about the garden", "label": "1"}\n')
    personal = {"action": "fix", "entities": ["EMAIL_ADDRESS"], "region": "US", "recogniser": None, "threshold": 0.5}
    noisy_posts.run(noisy_posts.declared(personal_data=personal))
    rows.write(paths.TRAIN, rows.read(paths.CLEAN))
    shown = {rule: [one.text for one in some] for rule, some in cleaned.read(personal).examples.items()}
    assert "mail <EMAIL_ADDRESS>" in shown["length"]
    assert shown["personal_data"] == ["please do mail me at <EMAIL_ADDRESS> about the garden"]
    hidden = cleaned.read(personal | {"recogniser": "names"}).examples
    assert {one.text for some in hidden.values() for one in some} == {None}


def test_a_classifier_that_knows_nothing_is_given_no_accuracy_on_the_page(run: Experiment) -> None:
    why = "nothing is doubted: 0.558 is no better than always the same answer, 0.552"
    figures = {"accuracy": None, "noise": None, "action": None, "doubted": 0, "n": 500, "why": why}
    known = {"accuracy": 0.79, "action": "downweight", "doubted": 44, "n": 90, "why": "accuracy 0.790 is below 0.9"}
    found = data.build(replace(run, clean={**run.clean, "label_noise": {"abstracts": figures, "stress": known}}))
    html = " ".join(page.environment().get_template("data.html").render(found).split())
    assert f"Labels of <strong>abstracts</strong>: {why}." in html
    assert "they were kept with less weight, since its accuracy 0.790 is below 0.9." in html
