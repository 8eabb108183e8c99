"""The report stage: from files to files, the same bytes wherever and whenever it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clew import io, params, paths, rows
from clew.errors import DataError
from examples import experiment as example

CODE = "from examples import experiment as e; e.report(e.declared())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        example.write(example.declared())
        example.report(example.declared())
    return where


@pytest.fixture
def copied(folder, tmp_path, monkeypatch):
    """A copy of the experiment to spoil."""
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def test_it_writes_the_page_the_card_and_the_record_of_machines(folder):
    written = sorted(path.name for path in (folder / "reports").iterdir())
    assert written == ["model_card.md", "report.html", "runtime.html"]
    assert (folder / paths.REPORT).read_text().startswith("<!doctype html>")


def test_it_reads_the_sections_it_shows_and_gives_nothing_volatile_back(copied):
    p = example.declared()
    from clew.stages import report

    assert report.run(**{name: getattr(p, name) for name in type(p).model_fields}) == {}


def test_another_process_in_another_folder_writes_the_same_bytes(folder, tmp_path):
    """Hash seed, time zone, place and the records of machines change; the page and the card do not."""
    where = tmp_path / "elsewhere, with spaces"
    shutil.copytree(folder, where)
    shutil.rmtree(where / "reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        io.write_json(paths.RUNTIME / "sft.json", {"stage": "sft", "seconds": 1.5})
    tests = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "PYTHONPATH": str(tests)}
    subprocess.run([sys.executable, "-c", CODE], cwd=where, env=environment, check=True)
    for name in ("report.html", "model_card.md"):
        assert (where / "reports" / name).read_bytes() == (folder / "reports" / name).read_bytes()
    assert "1.5\u202fs" in (where / "reports" / "runtime.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        paths.QUALITY,
        paths.FAIRNESS,
        paths.CLEAN_METRICS,
        paths.SFT_LOSS,
        paths.ledger("clean"),
        paths.PREDICTIONS / "sft.parquet",
        paths.SPLITS / "test.parquet",
        paths.TRAIN,
        paths.MODELS / "sft",
    ],
)
def test_a_file_that_is_missing_is_named(copied, path):
    """One line: which file, and what to do."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError) as caught:
        example.report(example.declared())
    assert str(path) in str(caught.value)
    assert "dvc repro" in caught.value.fix


def test_rows_are_found_by_their_ids(copied):
    """The page shows the prompt of the very row that was predicted."""
    from clew.report import experiment

    run = experiment.read(example.sections(example.declared()))
    predicted = {row["row_id"] for row in run.predictions["base"]}
    assert predicted <= set(run.prompts)
    assert all(text.startswith(("Post: ", "Doctor: ")) for text in run.prompts.values())


def test_selected_and_added_rows_are_counted_where_they_are(tmp_path, monkeypatch):
    """Rows that select leaves out are not told as trained on, and those that augment adds are no records."""
    from clew.report import experiment
    from clew.report.sections import data, pipeline

    monkeypatch.chdir(tmp_path)
    p = example.declared(select={"enabled": True}, augment={"enabled": True})
    example.write(p)
    run = experiment.read(example.sections(p))
    counts = data.of_source(run, "posts")["counts"]
    before, selected = (
        sum(row["source"] == "posts" for row in rows.read(path))
        for path in (paths.SPLITS / "train.parquet", paths.SELECTED)
    )
    assert counts["train"] == selected == (before + 1) // 2
    assert sum(counts[part] for part in data.PARTS) == counts["records"] == 403
    chips = {name: (told, off) for name, told, off in pipeline.data_lane(run)}
    added = len(rows.read(paths.AUGMENTED)) - len(rows.read(paths.SELECTED))
    assert chips["select"] == (f"{len(rows.read(paths.SELECTED))} of train kept", False)
    assert chips["augment"] == (f"{added} added", False)
    found = {(rule["stage"], rule["rule"]): rule for rule in data.rules(run)}
    assert found["select", "diversity"]["n"] == before - selected
    assert found["augment", "typos"]["n"] == found["augment", "prompts"]["n"] == selected
    assert all(rule["means"] for (stage, _), rule in found.items() if stage in ("select", "augment"))
    assert "after select: diversity" in example.report(p)["report.html"]


def test_an_experiment_without_cleaning_rules_makes_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rules = set(params.Clean.model_fields) - {"objective", "features", "downweight"}
    p = example.declared(clean=dict.fromkeys(rules))
    example.write(p)
    written = example.report(p)
    assert "Doubts were looked for" not in written["report.html"]
    assert written["model_card.md"]


def test_an_experiment_without_alignment_and_compression_makes_a_page(copied):
    p = example.declared(
        align={"enabled": False},
        compress={"methods": []},
        predict={"variants": ["base", "sft"]},
        fairness={"audits": []},
    )
    example.finish(p)
    written = example.report(p)
    assert "Alignment was switched off" in written["report.html"]
    assert "No audit was asked for" in written["model_card.md"]
