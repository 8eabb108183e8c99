"""What a person decides about a row stands over every rule, and what is no decision is told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clew import ledger, paths, review, rows
from clew.cli.main import app
from clew.errors import DataError
from examples import noisy_posts


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write()
    noisy_posts.run(noisy_posts.declared())


def _edited(**decisions: Any) -> Path:
    """An export whose lines, by their place, have been decided."""
    file = Path("review.jsonl")
    done = CliRunner().invoke(app, ["review", "export", str(file)])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in file.read_text().split("\n") if line]
    for place, change in decisions.items():
        lines[int(place.removeprefix("line"))] |= change
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_rows_that_a_rule_asks_about_stay_and_wait() -> None:
    queue = review.waiting()
    assert {row["rule"] for row in queue} == {"label_noise"}
    assert len(queue) >= 3
    left = {row["row_id"]: row for row in rows.read(paths.CLEAN)}
    assert all(left[row["row_id"]]["weight"] == 1 for row in queue)
    told = {entry["row_id"]: (entry["decision"], entry["rule"]) for entry in ledger.read("clean")}
    assert {told[row["row_id"]] for row in queue} == {("kept", "label_noise")}


def test_decisions_are_honoured_over_any_rule_and_leave_the_queue() -> None:
    first, second, third = review.waiting()[:3]
    other = "no" if second["label"] == "yes" else "yes"
    file = _edited(
        line0={"decision": "drop"}, line1={"decision": "label", "label": other}, line2={"decision": "keep", "by": "Bo"}
    )
    done = CliRunner().invoke(app, ["review", "import", str(file), "--by", "ada", "--on", "2026-03-01"])
    assert done.exit_code == 0, done.output
    assert "3 decisions in data/review/decisions/review.jsonl" in done.output

    harsh = {"action": "drop", "min_words": 500, "max_words": 600}
    noisy_posts.run(noisy_posts.declared(length=harsh, label_noise=None))
    left = {row["row_id"]: row for row in rows.read(paths.CLEAN)}
    assert set(left) == {second["row_id"], third["row_id"]}  # whatever length says
    assert (left[second["row_id"]]["label"], left[second["row_id"]]["completion"]) == (other, other)
    assert left[second["row_id"]]["rejected"] == second["label"]
    told = {entry["row_id"]: entry for entry in ledger.read("clean")}
    assert told[first["row_id"]]["decision"] == "dropped"
    assert told[first["row_id"]]["rule"] == "review"
    assert told[first["row_id"]]["detail"] == "by ada on 2026-03-01"
    assert told[second["row_id"]]["decision"] == "changed"
    assert told[third["row_id"]]["decision"] == "kept"
    assert "by Bo" in told[third["row_id"]]["detail"] + str(told[third["row_id"]]["also"])
    assert not {row["row_id"] for row in review.waiting()} & {first["row_id"], second["row_id"], third["row_id"]}


def test_the_last_word_about_a_row_counts() -> None:
    row = review.waiting()[0]
    for decision in ("drop", "keep"):
        review.admit(_edited(line0={"decision": decision}), "ada", "2026-03-01")
    noisy_posts.run(noisy_posts.declared())
    assert row["row_id"] in {one["row_id"] for one in rows.read(paths.CLEAN)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision": "maybe"}, "decision 'maybe' is none of keep, drop, label"),
        ({"decision": "label"}, "the label is still"),
        ({"decision": "label", "label": "perhaps"}, "`perhaps` is none of the row's choices"),
        ({"decision": "label", "label": ""}, "no label is given"),
        ({"decision": "keep", "row_id": "12"}, "row_id '12' is not 64 hex digits"),
        ({"decision": "keep", "row_id": "0" * 64}, "does not wait for a decision"),
    ],
)
def test_what_is_no_decision_is_told_with_its_line_and_nothing_is_written(change: dict[str, Any], said: str) -> None:
    file = _edited(line0={"decision": "keep"}, line1=change)
    with pytest.raises(DataError, match=f"review.jsonl:2: .*{said}"):
        review.admit(file, "", "")
    assert not list(paths.REVIEW_DECISIONS.glob("*.jsonl"))


def test_a_broken_decision_file_stops_the_stage_with_its_line() -> None:
    paths.REVIEW_DECISIONS.mkdir(parents=True)
    (paths.REVIEW_DECISIONS / "a.jsonl").write_text("\n{")
    with pytest.raises(DataError, match=r"a\.jsonl:2: not JSON"):
        noisy_posts.run(noisy_posts.declared())


def test_lines_without_a_decision_keep_waiting() -> None:
    found = review.admit(_edited(line0={"decision": None}), "", "")
    assert (found.decided, found.undecided) == (0, len(review.waiting()))
    assert not found.path.exists()


MASKING = {"action": "fix", "entities": ["EMAIL_ADDRESS"], "region": "US", "recogniser": None, "threshold": 0.5}


def test_a_row_that_is_kept_stays_as_the_person_saw_it() -> None:
    """With its mends: what was masked in the queue must not come back, neither in texts nor in messages."""
    with (paths.RAW / "dreaddit/posts.jsonl").open("a") as file:
        file.write(
            json.dumps({"text": "me llamo ann@example.org\u2028 y no puedo dormir nada en la noche", "label": "1"})
        )
    language = {"action": "review", "expected": ["en"], "threshold": 0.2, "min_words": 3}
    p = noisy_posts.declared(personal_data=MASKING, language=language, label_noise=None)
    noisy_posts.run(p)
    (asked,) = review.waiting()
    assert "<EMAIL_ADDRESS>" in asked["text"]
    review.admit(_edited(line0={"decision": "keep"}), "ada", "")
    noisy_posts.run(p)
    kept = next(row for row in rows.read(paths.CLEAN) if row["row_id"] == asked["row_id"])
    assert kept["text"] == asked["text"]
    assert "ann@example.org" not in json.dumps(kept)
    assert kept["text"] in kept["messages"][-1]["content"]


def test_copies_of_a_row_that_is_kept_are_copies_and_decisions_about_no_row_are_counted() -> None:
    row = review.waiting()[0]
    text = (paths.RAW / "dreaddit/posts.jsonl").read_text()
    twice = next(line for line in text.splitlines() if row["text"] in line)
    (paths.RAW / "dreaddit/posts.jsonl").write_text(text + twice + "\n")
    review.admit(_edited(line0={"decision": "keep"}), "ada", "")
    p = noisy_posts.declared(duplicates={"action": "drop"})
    noisy_posts.run(p)
    assert [one["row_id"] for one in rows.read(paths.CLEAN)].count(row["row_id"]) == 1
    assert json.loads(paths.CLEAN_METRICS.read_text())["review"] == {"decisions": 1, "of_no_row": 0}
    (paths.RAW / "dreaddit/posts.jsonl").write_text("".join(line + "\n" for line in text.splitlines() if line != twice))
    noisy_posts.run(p)
    assert json.loads(paths.CLEAN_METRICS.read_text())["review"] == {"decisions": 1, "of_no_row": 1}


def test_a_decision_file_that_is_no_text_is_told() -> None:
    paths.REVIEW_DECISIONS.mkdir(parents=True)
    (paths.REVIEW_DECISIONS / "a.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        noisy_posts.run(noisy_posts.declared())
