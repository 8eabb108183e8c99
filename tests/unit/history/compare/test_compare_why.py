"""Code that changed with its commits, and which change reaches which number."""

from __future__ import annotations

from compare_lab import Lab, md5, stage
from hypothesis import given
from hypothesis import strategies as st

from clew.history import lockfile
from clew.history.compare import asked, why
from clew.history.compare import words as told
from clew.history.compare.model import Reach
from clew.history.lockfile import Stage

VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.text(max_size=3)
FLAT = st.dictionaries(st.sampled_from(["a", "b.c", "b.d", "e"]), VALUES)


@given(FLAT, FLAT)
def test_the_params_that_differ_turn_the_one_side_into_the_other(before: dict, after: dict) -> None:
    found = asked.differ(before, after)
    made = {name: value for name, value in before.items() if name not in {p.name for p in found if p.on == "before"}}
    made |= {param.name: param.after for param in found if param.on != "before"}
    assert {name: repr(value) for name, value in made.items()} == {name: repr(v) for name, v in after.items()} or (
        made == after
    )
    assert all(param.before != param.after or param.on != "both" or _bools(param) for param in found)
    assert asked.differ(after, after) == []


def _bools(param: asked.Param) -> bool:
    return isinstance(param.before, bool) != isinstance(param.after, bool)


def test_a_param_reaches_what_its_stage_feeds_and_spares_the_rest(lab: Lab) -> None:
    lab.write(rate=0.01, wrong=[])
    (reach,) = lab.side().reaches
    assert (reach.kind, reach.roots) == ("param", ("sft.learning_rate",))
    assert reach.stages == ("sft", "predict@sft", "evaluate")
    assert (reach.variants, reach.spared, reach.not_run) == (("sft",), ("base",), False)
    assert told.chain(reach) == "sft.learning_rate → sft → predict@sft → evaluate"
    assert told.end(reach) == "reaches every metric of sft; none of base"


def test_a_param_that_no_stage_has_run_with_waits(lab: Lab) -> None:
    lab.write(rate=0.01, ran_rate=0.001)
    side = lab.side()
    assert [(p.name, p.not_run) for p in side.params] == [("sft.learning_rate", ("sft",))]
    (reach,) = side.reaches
    assert (reach.not_run, reach.variants, reach.spared) == (True, ("sft",), ("base",))
    assert told.end(reach) == "will reach every metric of sft; none of base once the pipeline has run with it"


def test_a_param_that_no_stage_reads_reaches_nothing(lab: Lab) -> None:
    path = lab.root / "params.yaml"
    path.write_text(path.read_text() + "notes: hello\n")
    (reach,) = lab.side().reaches
    assert told.end(reach) == "no stage of dvc.lock reads it"


def test_changed_code_is_told_with_the_commits_since_the_fork(lab: Lab) -> None:
    lab.commit("Before the fork", code="train(1)\n")
    lab.git("checkout", "-q", "-b", "mine")
    lab.commit("Warm up first", code="train(warm_up)\n", rate=0.01)
    lab.commit("Touch no code", code="train(warm_up)\n", rate=0.02)
    lab.commit("Clip gradients", code="train(warm_up, clip)\n", rate=0.02)
    (file,) = lab.side("main", "mine").code
    assert (file.path, file.change, file.stages) == ("src/train.py", "changed", ("sft",))
    assert [(t.title, t.side) for t in file.commits] == [("Clip gradients", "after"), ("Warm up first", "after")]
    assert (file.run, file.committed) == (True, True)
    (back,) = lab.side("mine", "main").code
    assert [t.side for t in back.commits] == ["before", "before"]


def test_an_edit_since_the_run_is_told_as_not_run_and_in_no_commit(lab: Lab) -> None:
    lab.write(code="train(edited)\n", ran_code="train()\n")
    side = lab.side()
    (file,) = side.code
    assert (file.run, file.committed) == (False, False)
    assert told.file(file) == "changed, edited, not run yet, in no commit"
    assert [(r.kind, r.not_run, r.variants) for r in side.reaches] == [("code", True, ("sft",))]


def test_code_that_ran_and_is_in_no_commit_is_told(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "mine")
    lab.commit("Commit the lock without the code", ran_code="train(secret)\n")
    (file,) = lab.side("main", "mine").code
    assert (file.path, file.run, file.committed, file.commits) == ("src/train.py", True, False, ())


def test_code_added_and_removed_in_a_folder_that_a_stage_reads(lab: Lab) -> None:
    folder = lab.root / "src/training"
    folder.mkdir()
    (folder / "loop.py").write_text("old\n")
    lock = lab.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: src/train.py", "path: src/training"))
    lab.git("add", "-A")
    lab.git("commit", "-qm", "Make it a folder")
    (folder / "loop.py").unlink()
    (folder / "steps.py").write_text("new\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/steps.pyc").write_text("compiled\n")
    found = {file.path: file.change for file in lab.side().code}
    assert found == {"src/training/loop.py": "removed", "src/training/steps.py": "added"}


def test_a_stage_that_made_the_same_bytes_ends_the_change(lab: Lab) -> None:
    text = str(lab.files()["dvc.lock"]).replace(md5("train()\n"), md5("train()  # why\n"))
    (lab.root / "dvc.lock").write_text(text)
    (lab.root / "src/train.py").write_text("train()  # why\n")
    (reach,) = lab.side().reaches
    assert (reach.stages, reach.ends_at, reach.variants) == (("sft",), ("sft",), ())
    assert told.end(reach) == "reaches no number (sft made the same bytes all the same)"


def test_a_stage_that_made_something_else_of_the_same_inputs_is_named(lab: Lab) -> None:
    lab.write(wrong=[])  # the same params and code, other predictions: as if on another machine
    assert [(r.kind, r.roots, r.variants) for r in lab.side().reaches] == [("unexplained", ("sft",), ("sft",))]


def test_an_instance_that_was_switched_off_is_left_out(lab: Lab) -> None:
    lock = lab.root / "dvc.lock"
    old = stage("predict@int8", {"models/sft": "0" * 32}, {"data/predictions/int8.parquet": "1" * 32}, [])
    lab.write(rate=0.01, wrong=[])
    lock.write_text(lock.read_text() + old)
    assert all("predict@int8" not in reach.stages for reach in lab.side().reaches)


def test_a_circle_of_stages_is_followed_once() -> None:
    text = "schema: '2.0'\nstages:\n" + stage("a", {"y": "1" * 32}, {"x": "2" * 32}, [])
    stages = lockfile.read(text + stage("b", {"x": "2" * 32}, {"y": "1" * 32}, []))
    graph = why.Graph(why._ordered(stages), ({}, {"x": "2", "y": "1"}), (), ())
    assert set(why.follow(graph, "code", ("a.py",), ("a",), False).stages) <= {"a", "b"}


@given(st.lists(st.sampled_from("abcd"), unique=True), st.lists(st.sampled_from("abcd"), unique=True))
def test_stages_come_after_what_feeds_them(first: list[str], second: list[str]) -> None:
    made = {n: lockfile.read("schema: '2.0'\nstages:\n" + stage(n, {}, {n: "0" * 32}, []))[n] for n in first + second}
    last = Stage("", tuple(out for s in made.values() for out in s.outs), (), "")
    assert list(why._ordered({"last": last, **made}))[-1] == "last"


def test_many_roots_are_told_shortly() -> None:
    reach = Reach("param", tuple("abcdef"), ("sft",), (), (), (), (), False)
    assert told.chain(reach) == "a, b, c, d and 2 more → sft"
