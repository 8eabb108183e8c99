"""What came out: verdicts by paired tests on the stored predictions, and plain words where there is none."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from compare_lab import PARITY, Lab, N, md5, number, predictions

from clew.history import store as stores
from clew.history.compare import gaps, paired, verdicts
from clew.history.compare.model import BETTER, SAME, WORSE


def test_fewer_wrong_answers_are_better_and_more_are_worse(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "good")
    lab.commit("Train longer", rate=0.01, wrong=[])
    lab.git("checkout", "-q", "-b", "bad", "main")
    lab.commit("Train shorter", rate=0.1, wrong=range(0, N, 2))
    good, bad = lab.compare("main", "good", "bad").sides
    assert [number(side, "stress.accuracy").verdict for side in (good, bad)] == [BETTER, WORSE]
    assert [number(side, "stress.log_loss").verdict for side in (good, bad)] == [BETTER, WORSE]
    tested = number(good, "stress.accuracy").paired
    assert tested is not None
    assert tested.difference == pytest.approx(0.25)
    assert tested.low <= 0.25 <= tested.high
    assert (tested.n, tested.p <= tested.holm <= 0.05) == (N, True)


def test_a_difference_within_the_noise_is_none(lab: Lab) -> None:
    lab.write(wrong=[*range(0, N, 4), 1], rate=0.002)
    found = number(lab.side(), "stress.accuracy")
    assert (found.verdict, found.change) == (SAME, pytest.approx(-1 / N))
    assert found.paired.p == 1.0, "one row answered otherwise proves nothing, whatever the bootstrap says"


def test_the_same_predictions_are_no_difference_and_no_test(lab: Lab) -> None:
    lab.write(rate=0.002)
    view = lab.compare()
    assert view.tests == 0
    found = number(view.sides[0], "stress.f1", "base")
    assert (found.verdict, found.reason) == (SAME, "the predictions are the same, to the byte")


def test_the_same_answers_given_with_more_certainty_are_tested_only_where_that_counts(lab: Lab) -> None:
    lab.write(sure=4.0, rate=0.002)
    side = lab.side()
    same, other = number(side, "stress.accuracy"), number(side, "stress.log_loss")
    assert (same.verdict, same.paired, same.reason) == (SAME, None, "every shared row was answered the same")
    assert (other.verdict, other.paired.n) == (WORSE, N)


def test_all_tests_of_the_view_are_corrected_together_and_each_question_once(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "one")
    lab.commit("One", rate=0.01, wrong=range(0, N, 8))
    lab.git("branch", "copy")
    alone, both = lab.compare("main", "one"), lab.compare("main", "one", "copy")
    assert alone.tests == both.tests > 0
    lab.git("checkout", "-q", "-b", "two", "main")
    lab.commit("Two", rate=0.02, wrong=range(0, N, 5))
    wider = lab.compare("main", "one", "two")
    assert wider.tests == 2 * alone.tests
    raw = [n.paired.p for side in wider.sides for n in side.numbers if n.paired]
    corrected = [n.paired.holm for side in wider.sides for n in side.numbers if n.paired]
    assert corrected == pytest.approx(paired.holm(raw))
    assert max(corrected) > max(raw) or max(raw) == 1.0


def test_rows_that_one_test_set_lacks_are_left_out_and_counted(lab: Lab) -> None:
    lab.write(ids=range(8, N + 4), wrong=[], rate=0.01)
    side = lab.side()
    assert side.shared["sft"]["stress"] == (N - 8, 8, 4)
    assert number(side, "stress.accuracy").paired.n == N - 8


def test_test_sets_without_a_common_row_give_no_verdict(lab: Lab) -> None:
    lab.write(ids=range(1000, 1000 + N), wrong=[], rate=0.01)
    found = number(lab.side(), "stress.accuracy")
    assert (found.verdict, found.reason) == (None, "the two test sets share no row of this task")


def test_predictions_that_the_cache_lacks_leave_the_stored_numbers_and_say_so(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "other")
    lab.commit("Elsewhere", wrong=[], rate=0.01, cached=False)
    found = number(lab.side("main", "other"), "stress.accuracy")
    assert found.verdict is None
    assert "of sft in other are not in DVC's cache here (`dvc pull` brings them)" in found.reason
    assert found.after["low"] <= found.after["value"] <= found.after["high"]


def test_predictions_in_the_work_tree_stand_in_for_the_cache_if_they_are_the_same_file(lab: Lab) -> None:
    lab.write(wrong=[], rate=0.01, cached=False)
    (lab.root / "data/predictions").mkdir(parents=True)
    shutil.copy(lab.root / ".git/sft.parquet", lab.root / "data/predictions/sft.parquet")
    assert number(lab.side(), "stress.accuracy").verdict == BETTER
    (lab.root / "data/predictions/sft.parquet").write_bytes(b"another")
    assert number(lab.side(), "stress.accuracy").verdict is None


def test_a_file_that_is_not_the_one_of_dvc_lock_gives_no_verdict(lab: Lab) -> None:
    """The other side's predictions under this side's name: unhashed, they would be no difference."""
    lab.git("checkout", "-q", "-b", "bad")
    lab.commit("Answer all wrongly", wrong=range(N), rate=0.1)
    assert number(lab.side("main", "bad"), "stress.accuracy").verdict == WORSE
    locks = [lab.git("show", f"{rev}:dvc.lock") for rev in ("main", "bad")]
    good, bad = (lab.place(lab.digest(lock, "data/predictions/sft.parquet")) for lock in locks)
    bad.chmod(0o644)
    shutil.copy(good, bad)
    found = number(lab.side("main", "bad"), "stress.accuracy")
    assert (found.verdict, found.paired) == (None, None)
    assert found.reason.startswith("the cache holds another file than ")
    assert "so it is not believed" in found.reason


def test_a_prediction_file_that_is_no_parquet_is_a_reason_and_no_crash(lab: Lab) -> None:
    lab.write(wrong=[], rate=0.01)
    path = lab.root / "dvc.lock"
    lab.place(md5("no parquet")).write_text("no parquet")
    old = lab.digest(path.read_text(), "data/predictions/sft.parquet")
    path.write_text(path.read_text().replace(old, md5("no parquet")))
    found = number(lab.side(), "stress.accuracy")
    assert found.verdict is None
    assert "cannot be read" in found.reason


def test_predictions_that_are_one_out_are_told_apart_by_its_listing(lab: Lab) -> None:
    """A stage may make the folder whole: its md5 is one, its files are as many as there are variants."""
    texts = [str(lab.files(wrong=wrong, rate=0.01 + len(wrong))["dvc.lock"]) for wrong in ([], [0, 4, 8])]
    outs = [lab.as_folder(text) for text in texts]
    predictions = verdicts.Predictions(stores.open_store(lab.root), lab.root)
    for text, made in zip(texts, outs, strict=True):
        side = SimpleNamespace(name="x", out=lambda path, made=made: made)
        for variant in ("base", "sft"):
            found, rows = predictions.of(side, variant)
            assert found == lab.digest(text, f"data/predictions/{variant}.parquet")
            assert len(rows) == N


def test_the_verdicts_hold_the_level_that_was_asked_for(lab: Lab) -> None:
    """Seven rows better and none worse is sure of one test, and not of all of the view."""
    lab.write(wrong=[*range(0, N, 4)][7:], rate=0.01)
    side = lab.side()
    found = number(side, "stress.accuracy")
    assert found.paired.p == pytest.approx(2.0**-6)
    assert 0.05 < found.paired.holm < 0.5
    assert {n.verdict for n in side.numbers if n.paired and n.paired.holm > 0.05} == {SAME}


def test_few_draws_do_not_hide_a_plain_difference_from_the_view(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "MOST", 200)
    lab.write(wrong=[], rate=0.01)
    view = lab.compare()
    assert view.resamples == 200
    assert 2 / (view.resamples + 1) * view.tests > 0.05, "too few for the smallest p that the draws alone can give"
    assert number(view.sides[0], "stress.accuracy").verdict == BETTER


def test_a_metric_that_one_side_lacks_has_no_verdict(lab: Lab) -> None:
    lab.write(wrong=[], rate=0.01)
    path = lab.root / "metrics/quality.json"
    tree = json.loads(path.read_text())
    del tree["sft"]["stress"]["f1"]
    tree["sft"]["stress"]["auc"] = {"value": None, "reason": "all labels are the same", "n": N}
    path.write_text(json.dumps(tree))
    side = lab.side()
    gone, null = number(side, "stress.f1"), number(side, "stress.auc")
    assert (gone.verdict, gone.reason, gone.after) == (None, "not measured after", {})
    assert (null.verdict, null.reason) == (None, "no value after: all labels are the same")
    assert any("metrics/quality.json is not the file that dvc.lock says was made" in note for note in side.notes)


def test_without_tests_nothing_is_judged(lab: Lab) -> None:
    lab.write(wrong=[], rate=0.01)
    view = lab.compare(tests=False)
    verdicts = {n.verdict for n in view.sides[0].numbers if n.kind != "size"}
    assert (verdicts, view.tests) == ({None}, 0)


def test_nearer_to_even_is_better_and_farther_is_worse(lab: Lab) -> None:
    she = [i for i in range(N) if i % 3 == 0 and i % 2 == 0]
    lab.write(wrong=[*she, *range(1, N, 2)], rate=0.01)  # he always gets yes, she never where it is right
    found = number(lab.side(), PARITY)
    assert found.verdict == WORSE
    assert found.paired.difference > 0.3
    lab.git("commit", "-qam", "Uneven")
    lab.git("checkout", "-q", "-b", "even")
    lab.commit("Even", wrong=range(0, N, 4), rate=0.001)
    assert number(lab.side("main", "even"), PARITY).verdict == BETTER


def test_a_size_is_counted(lab: Lab) -> None:
    lab.write(wrong=[], rate=0.01)
    found = number(lab.side(), "model.size_bytes")
    assert (found.kind, found.verdict, found.reason) == ("size", SAME, "counted, not sampled")


def test_the_distance_from_even_has_the_measures_own_values() -> None:
    """The joint counts of the two sides, summed up, give what clew.fairness measures on each side alone."""
    from clew import params
    from clew.fairness import groups, measures

    before, after = predictions(range(0, N, 4)), predictions(range(0, N, 7))
    asked = params.Audit(task="stress", attribute="pronoun", privileged="he", unprivileged="she", favorable="yes")
    tables = gaps.joint(asked, (before, after))
    found = gaps.distances(tables[0][None], tables[1][None])
    for side, rows in enumerate((before, after)):
        members = groups.members(asked, rows, where="")
        actual, predicted = (groups.favorable(asked, members.rows, c, where="") for c in ("label", "prediction"))
        counts = [measures.counts(actual[g], predicted[g]) for g in (~members.privileged, members.privileged)]
        alone = measures.differences(*counts)
        for name in gaps.TESTED:
            assert found[name][side][0] == pytest.approx(abs(alone[name]))
