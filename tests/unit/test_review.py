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
    file.unlink(missing_ok=True)
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


def test_a_file_that_an_editor_left_without_a_last_line_end_takes_more_decisions() -> None:
    first, second = review.waiting()[:2]
    path = review.admit(_edited(line0={"decision": "keep"}), "ada", "").path
    path.write_text(path.read_text().rstrip("\n"))
    review.admit(_edited(line1={"decision": "drop"}), "ada", "")
    noisy_posts.run(noisy_posts.declared())
    left = {one["row_id"] for one in rows.read(paths.CLEAN)}
    assert first["row_id"] in left
    assert second["row_id"] not in left


def test_two_decisions_about_one_row_in_one_file_are_refused() -> None:
    file = _edited(line0={"decision": "keep"})
    line = json.loads(file.read_text().split("\n")[0])
    file.write_text("".join(json.dumps(line | {"decision": kind}) + "\n" for kind in ("keep", "keep", "drop")))
    with pytest.raises(DataError, match=r"review\.jsonl:3: the decision is `drop`, and line 1 decides otherwise"):
        review.admit(file, "", "")
    assert not list(paths.REVIEW_DECISIONS.glob("*.jsonl"))
    file.write_text("".join(json.dumps(line) + "\n" for _ in range(2)))
    assert review.admit(file, "", "").decided == 1


@pytest.mark.parametrize("line", ["[" * 100_000, "1" * 5000])
def test_a_line_that_no_parser_reads_is_told(line: str) -> None:
    Path("d.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"d\.jsonl:1: not JSON"):
        review.admit(Path("d.jsonl"), "", "")
    paths.REVIEW_DECISIONS.mkdir(parents=True)
    Path("d.jsonl").rename(paths.REVIEW_DECISIONS / "d.jsonl")
    with pytest.raises(DataError, match=r"d\.jsonl:1: not JSON"):
        noisy_posts.run(noisy_posts.declared())


def test_an_export_leaves_a_file_that_exists_and_tells_where_it_cannot_write() -> None:
    file = _edited(line0={"decision": "keep"})
    before = file.read_text()
    done = CliRunner().invoke(app, ["review", "export", str(file)])
    assert "it exists, and may hold decisions" in str(done.exception)
    assert file.read_text() == before
    done = CliRunner().invoke(app, ["review", "export", "no/such/x"])
    assert isinstance(done.exception, DataError)
    assert "it cannot be written (No such file or directory)" in str(done.exception)


def test_an_export_by_rule_has_all_rows_that_the_rule_asks_about() -> None:
    noisy_posts.run(noisy_posts.declared(length={"action": "review", "min_words": 9, "max_words": 600}))
    asked = json.loads(paths.CLEAN_METRICS.read_text())["by_task"]["stress"]["review"]
    for rule in ("length", "label_noise"):
        done = CliRunner().invoke(app, ["review", "export", "--rule", rule])
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lines) == asked[rule] > 0
    assert any(line["rule"] == "length" and line["also"][0]["rule"] == "label_noise" for line in lines)
    done = CliRunner().invoke(app, ["review", "export", "--rule", "lable_noise"])
    assert done.exit_code == 2
    assert "did you mean `label_noise`?" in done.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision": "maybe"}, "decision 'maybe' is none of keep, drop, label"),
        ({"decision": "label"}, "the label is still"),
        ({"decision": "keep", "label": "perhaps"}, "the decision is `keep`, and the label `.*` became `perhaps`"),
        ({"decision": "keep", "copy": 2}, "does not wait for a decision"),
        ({"decision": "keep", "copy": "two"}, "copy 'two' is no number"),
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


def _more(*records: dict[str, object]) -> None:
    with (paths.RAW / "dreaddit/posts.jsonl").open("a") as file:
        file.write("".join(json.dumps(record) + "\n" for record in records))


def _left() -> list[tuple[int, str]]:
    """(record, label) of the rows that are left and stand twice, or are added."""
    return [(row["origin"]["record"], row["label"]) for row in rows.read(paths.CLEAN) if row["origin"]["record"] > 120]


TWICE = {"text": "some words about a garden that are said twice", "label": "0"}
LONG = {"action": "review", "min_words": 8, "max_words": 20}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"decision": "drop"}, [(121, "no")]),
        ({"decision": "keep"}, [(121, "no"), (122, "no")]),
        ({"decision": "label", "label": "yes"}, [(121, "yes"), (122, "yes")]),
    ],
)
def test_a_decision_about_a_copy_is_about_the_copy(change: dict[str, Any], left: list[tuple[int, str]]) -> None:
    _more(TWICE, TWICE)
    p = noisy_posts.declared(label_noise=None, duplicates={"action": "review"})
    noisy_posts.run(p)
    (asked,) = review.waiting()
    assert (asked["origin"]["record"], asked["copy"]) == (122, 2)
    review.admit(_edited(line0=change), "ada", "")
    noisy_posts.run(p)
    assert _left() == left
    assert review.waiting() == []
    assert json.loads(paths.CLEAN_METRICS.read_text())["review"] == {"decisions": 1, "of_no_row": 0}
    _more(TWICE)
    noisy_posts.run(p)  # another copy is another question
    assert [row["copy"] for row in review.waiting()] == [3]


@pytest.mark.parametrize(
    ("decision", "left"), [("keep", [(121, "no"), (122, "no")]), ("drop", []), ("label", [(121, "yes"), (122, "yes")])]
)
def test_a_decision_about_the_content_is_about_all_its_copies(decision: str, left: list[tuple[int, str]]) -> None:
    _more(TWICE, TWICE)
    harsh = {"action": "review", "min_words": 10, "max_words": 20}
    noisy_posts.run(noisy_posts.declared(label_noise=None, length=harsh))
    places = [place for place, row in enumerate(review.waiting()) if row["origin"]["record"] > 120]
    assert len(places) == 2
    assert {review.waiting()[place]["copy"] for place in places} == {None}
    change = {"decision": decision} | ({"label": "yes"} if decision == "label" else {})
    review.admit(_edited(**{f"line{places[0]}": change}), "ada", "")
    noisy_posts.run(noisy_posts.declared(label_noise=None, length=harsh | {"action": "drop"}))
    assert _left() == left
    noisy_posts.run(noisy_posts.declared(label_noise=None, length=harsh, duplicates={"action": "drop"}))
    assert _left() == left[:1]  # a copy is still one


def test_a_near_duplicate_that_is_one_of_several_copies_is_asked_about_by_itself() -> None:
    again = {"text": TWICE["text"].upper(), "label": "0"}
    _more(TWICE, again, again)
    p = noisy_posts.declared(label_noise=None, duplicates={"action": "review"})
    noisy_posts.run(p)
    assert [(row["origin"]["record"], row["copy"]) for row in review.waiting()] == [(122, 1), (123, 2)]
    review.admit(_edited(line0={"decision": "drop"}, line1={"decision": "keep"}), "ada", "")
    noisy_posts.run(p)
    assert [record for record, _ in _left()] == [121, 123]
    assert review.waiting() == []


def test_keep_keeps_the_label_that_annotators_gave_and_the_person_saw() -> None:
    """Whatever they say later."""
    file = paths.RAW / "dreaddit/posts.jsonl"
    posts = [json.loads(line) for line in file.read_text().splitlines()]
    posts = [post | {"by": [post["label"]] * 3} for post in posts[10:-1]]
    odd = {"text": "worry panic", "label": "0", "by": ["1", "1", "1"]}
    annotators = {"tasks": ["stress"], "folds": 5, "threshold": 0.1, "otherwise": "review"}

    def written(last: dict[str, Any], **changes: Any) -> dict[str, Any]:
        file.write_text("".join(json.dumps(post) + "\n" for post in [*posts, last]))
        p = noisy_posts.declared(
            label_noise=None, length={"action": "review", "min_words": 5, "max_words": 600}, **changes
        )
        stress = p.prepare.tasks["stress"].model_copy(update={"annotations": "{{ by | tojson }}"})
        noisy_posts.run(p.model_copy(update={"prepare": p.prepare.model_copy(update={"tasks": {"stress": stress}})}))
        return rows.read(paths.CLEAN)[-1]

    written(odd, annotators=annotators)
    (asked,) = review.waiting()
    assert (asked["rule"], asked["label"]) == ("length", "yes")
    path = review.admit(_edited(line0={"decision": "keep"}), "ada", "").path
    for seen in (written(odd, annotators=annotators), written(odd, annotators=None)):
        assert (seen["label"], seen["completion"], seen["rejected"]) == ("yes", "yes", "no")
    assert review.waiting() == []
    decision = json.loads(path.read_text())
    del decision["label"]  # as a person writes it by hand: the row goes on as rules leave it
    path.write_text(json.dumps(decision))
    assert written(odd, annotators=annotators)["label"] == "yes"
    path.write_text(json.dumps(decision | {"decision": "label", "label": "no"}))
    assert written(odd, annotators=annotators)["label"] == "no"


def test_keep_keeps_the_answer_that_was_filled_in() -> None:
    _more({"text": "worry panic", "label": ""})
    missing = {"text": "drop", "completion": "drop", "label": {"impute": "constant", "value": "yes"}}
    p = noisy_posts.declared(label_noise=None, missing=missing, length=LONG)
    noisy_posts.run(p)
    place, asked = next((n, row) for n, row in enumerate(review.waiting()) if row["origin"]["record"] == 121)
    review.admit(_edited(**{f"line{place}": {"decision": "keep"}}), "ada", "")
    noisy_posts.run(p)
    assert [row["label"] for row in rows.read(paths.CLEAN) if row["row_id"] == asked["row_id"]] == ["yes"]
