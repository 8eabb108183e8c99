"""Code that changed with its commits, and which change reaches which number."""

from __future__ import annotations

import time

import pytest
from compare_lab import Lab, N, artifacts, md5, stage
from hypothesis import given
from hypothesis import strategies as st

from clew.history import lockfile
from clew.history.compare import asked, graph, why
from clew.history.compare import words as told
from clew.history.compare.model import Reach
from clew.history.lockfile import Artifact, Stage
from examples.history import commit

VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.text(max_size=3)
FLAT = st.dictionaries(st.sampled_from(["a", "b.c", "b.d", "e"]), VALUES)


@given(FLAT, FLAT)
def test_the_params_that_differ_are_those_that_dvc_tells(before: dict, after: dict) -> None:
    from dvc.utils.diff import _diff_dicts

    found = {param.name: (param.before, param.after) for param in asked.differ(before, after)}
    wanted = {name: (change["old"], change["new"]) for name, change in _diff_dicts(before, after, False).items()}
    assert found == wanted
    assert asked.differ(after, after) == []


@given(FLAT, FLAT)
def test_a_side_that_lacks_a_param_is_named(before: dict, after: dict) -> None:
    for param in asked.differ(before, after):
        sides = {"both": (True, True), "before": (True, False), "after": (False, True)}[param.on]
        assert (param.name in before, param.name in after) == sides


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


def test_more_changed_files_than_a_command_line_takes_are_told_with_their_commits(lab: Lab) -> None:
    folder = lab.root / "src/generated"
    folder.mkdir()
    lock = lab.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: src/train.py", "path: src/generated"))
    names = [f"src/generated/{number:05}_{'x' * 200}.py" for number in range(12_000)]
    for title in ("Make many", "Change them all"):
        for name in names:
            (lab.root / name).write_text(title)
        lab.git("add", "-A")
        lab.git("commit", "-qm", title)
    found = lab.side("HEAD~1", "HEAD", tests=False).code
    assert [file.path for file in found] == names
    assert {tuple(title.title for title in file.commits) for file in found} == {("Change them all",)}
    (lab.root / names[0]).write_text("edited")
    assert [file.path for file in lab.side("HEAD", tests=False).code] == names[:1]


def test_code_that_ran_and_is_in_no_commit_is_told(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "mine")
    lab.commit("Commit the lock without the code", ran_code="train(secret)\n")
    (file,) = lab.side("main", "mine").code
    assert (file.path, file.run, file.committed, file.commits) == ("src/train.py", True, False, ())


def test_a_folder_that_differs_by_what_git_has_not_is_told_with_doubt(lab: Lab) -> None:
    """Its md5 of dvc.lock may be of compiled files, too: nobody can tell from the md5 alone."""
    lock = lab.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: src/train.py", "path: src/training"))
    (lab.root / "src/training").mkdir()
    (lab.root / "src/training/loop.py").write_text("loop()\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "Make it a folder")
    lock.write_text(lock.read_text().replace(md5("train()\n"), md5("train()\n# compiled")))
    assert [told.file(file) for file in lab.side().code] == ["changed, by files in no commit, or ignored ones"]


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
    feeds = graph.links(stages)
    drawn = graph.Graph(graph.ordered(stages, feeds), ({}, {"x": "2", "y": "1"}), (), (), feeds)
    assert set(why.follow(drawn, "code", ("a.py",), ("a",), False).stages) <= {"a", "b"}


PATHS = st.lists(st.sampled_from(["a", "a/b", "a/b/c", "a/d", "e", "ab"]), max_size=2, unique=True)


@given(st.lists(st.tuples(PATHS, PATHS), max_size=6))
def test_stages_come_after_what_feeds_them(drawn: list[tuple[list[str], list[str]]]) -> None:
    def entries(paths: list[str]) -> tuple[Artifact, ...]:
        return tuple(Artifact(path, "0" * 32, None, None) for path in paths)

    def touch(first: str, second: str) -> bool:
        return first == second or first.startswith(f"{second}/") or second.startswith(f"{first}/")

    stages = {f"s{i}": Stage("", entries(deps), entries(outs), "") for i, (deps, outs) in enumerate(drawn)}
    feeds = graph.links(stages)
    wanted = {
        (maker, reader, out.path, dep.path)
        for maker in stages
        for reader in stages
        for out in stages[maker].outs
        for dep in stages[reader].deps
        if maker != reader and touch(out.path, dep.path)
    }
    assert {(maker, link.reader, link.out.path, link.dep) for maker, of in feeds.items() for link in of} == wanted
    found: list[str] = []
    while len(found) < len(stages):  # all that can run, then all that can run after those
        left = [name for name in stages if name not in found]
        ready = [name for name in left if not any(r == name and m in left for m, r, *_ in wanted)]
        found += ready or left
    assert list(graph.ordered(stages, feeds)) == found


def test_many_stages_take_no_long_time() -> None:
    """Held against each other, 1,500 stages took seconds."""
    text = "schema: '2.0'\nstages:\n"
    text += "".join(stage(f"s{i}", {f"data/{i - 1}": f"{i:032x}"}, {f"data/{i}": f"{i:032x}"}, []) for i in range(1500))
    stages = lockfile.read(text)
    started = time.process_time()
    feeds = graph.links(stages)
    order = graph.ordered(stages, feeds)
    drawn = graph.Graph(order, ({}, {f"data/{i}": "1" for i in range(1500)}), ("data/1499",), (), feeds)
    assert len(why.follow(drawn, "code", ("a.py",), ("s0",), False).stages) == 1500
    assert time.process_time() - started < 0.5


def test_a_dep_that_a_stage_newly_reads_is_the_why(lab: Lab) -> None:
    lab.write(wrong=[])
    lock = lab.root / "dvc.lock"
    added = "\n".join(artifacts({"data/extra.csv": "e" * 32}))
    lock.write_text(lock.read_text().replace("    deps:\n", f"    deps:\n{added}\n", 1))
    (reach,) = lab.side().reaches
    assert (reach.kind, reach.roots, reach.variants) == ("pipeline", ("sft reads data/extra.csv",), ("sft",))
    lab.git("commit", "-qam", "Read more")
    lab.write(wrong=range(0, N, 4))
    assert [r.roots for r in lab.side().reaches] == [("sft no longer reads data/extra.csv",)]


def test_a_command_that_changed_is_the_why_and_nothing_is_unexplained(lab: Lab) -> None:
    lab.write(wrong=[])
    lock = lab.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("cmd: clew stage sft\n", "cmd: clew stage sft --longer\n"))
    (reach,) = lab.side().reaches
    assert (reach.kind, reach.roots, reach.variants) == ("pipeline", ("the command of sft",), ("sft",))


def test_params_that_a_stage_ran_with_are_the_why_where_params_yaml_is_the_same(lab: Lab) -> None:
    """The baseline's params were edited and never run; then they were."""
    lab.commit("Ask for more", rate=0.01, ran_rate=0.001)
    lab.write(rate=0.01, wrong=[])
    side = lab.side()
    assert side.params == ()
    (reach,) = [reach for reach in side.reaches if "sft" in reach.stages]
    assert (reach.kind, reach.roots) == ("pipeline", ("the params that sft ran with",))


def test_a_code_file_that_was_added_is_told_once(lab: Lab) -> None:
    lab.write(wrong=[])
    (lab.root / "src/more.py").write_text("more()\n")
    lock = lab.root / "dvc.lock"
    added = "\n".join(artifacts({"src/more.py": md5("more()\n")}))
    lock.write_text(lock.read_text().replace("    deps:\n", f"    deps:\n{added}\n", 1))
    assert [(r.kind, r.roots) for r in lab.side().reaches] == [("code", ("src/more.py",))]


def test_what_git_or_dvc_ignores_in_a_folder_is_no_code(lab: Lab) -> None:
    folder = lab.root / "src/training"
    folder.mkdir()
    (folder / "loop.py").write_text("old\n")
    (folder / "kept.log").write_text("in git all the same\n")
    (lab.root / ".gitignore").write_text("*.log\n*.swp\n")
    (lab.root / ".dvcignore").write_text("# by DVC\nnotes/\n")
    lock = lab.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: src/train.py", "path: src/training"))
    lab.git("add", "-A")
    lab.git("add", "-f", "src/training/kept.log")
    lab.git("commit", "-qm", "Make it a folder")
    for name in (".DS_Store", "loop.pyc", "__pycache__/loop.cpython-311.pyc", "loop.py.swp", "notes/todo.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("litter")
    assert lab.side().code == ()
    (folder / "kept.log").write_text("edited\n")
    assert [file.path for file in lab.side().code] == ["src/training/kept.log"]


def test_litter_that_was_committed_is_no_code(lab: Lab) -> None:
    folder = lab.root / "src/training"
    folder.mkdir()
    (folder / "loop.py").write_text("old\n")
    lock = lab.root / "dvc.lock"
    lock.write_text(lock.read_text().replace("path: src/train.py", "path: src/training"))
    lab.git("add", "-A")
    lab.git("commit", "-qm", "Make it a folder")
    (folder / ".DS_Store").write_text("litter")
    lab.git("add", "-fA")
    lab.git("commit", "-qm", "Commit litter")
    assert lab.side("HEAD~1", "HEAD").code == ()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("sha256", "9" * 64, "other content (SHA-256 bbbbbbbbbbbb → 999999999999)"),
        ("license", "MIT", "licence CC0 → MIT"),
        ("uri", "hf://other", "hf://tiny → hf://other"),
        (None, "", "other content (MD5 777777777777 → 888888888888)"),
    ],
)
def test_a_base_model_is_told_by_what_differs(lab: Lab, field: str | None, value: str, said: str) -> None:
    base = {"uri": "hf://tiny", "sha256": "b" * 64, "license": "CC0"}
    for fields, digest in ((base, "7" * 32), ({**base, field: value} if field else base, "8" * 32)):
        params = "".join(f"  {name}: {text}\n" for name, text in fields.items())
        made = stage("fetch_model", {"x": md5("x")}, {"models/base": digest if not field else "7" * 32}, [])
        files = lab.files()
        files["params.yaml"] = f"{files['params.yaml']}fetch_model:\n{params}"
        commit(lab.root, "Fetch", {**files, "dvc.lock": f"{files['dvc.lock']}{made}"})
    assert told.data(lab.side("HEAD~1", "HEAD").data)[0] == f"base model models/base: {said}"


def test_many_roots_are_told_shortly() -> None:
    reach = Reach("param", tuple("abcdef"), ("sft",), (), (), (), (), False)
    assert told.chain(reach) == "a, b, c, d and 2 more → sft"
