"""What two revisions' data differs in: rows by id, else by place; decisions by rule; and what cannot be compared."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clew.cli.main import app
from clew.errors import DataError
from clew.history import repository as git
from clew.history import snapshot, store
from clew.lineage import data_changes, set_changes
from clew.lineage.data_changes import Count, DataChanges, Source
from examples.rows_repository import Repository, Row, lock, made_up, row, stages

ROWS = [row(f"post number {k} of the day", "yes" if k % 2 else "no", k) for k in range(10)]
PARAMS = """\
seed: 13
fetch_data:
  sources:
    web: {uri: "file:posts.csv", sha256: "aa", license: MIT}
fetch_model:
  uri: hf://base
  license: MIT
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repository")
    monkeypatch.chdir(made.folder)
    made.run(ROWS, side={ROWS[0]["text"]: "test"}, params=PARAMS)
    made.commit("Train")
    made.git("tag", "before")
    return made


def _between(made: Repository, before: str, after: str, sample: int = 5) -> DataChanges:
    repo = git.open_repository(made.folder)
    sides = [snapshot.take(repo, name) for name in (before, after)]
    return data_changes.between(store.open_store(made.folder), sides[0], sides[1], sample)


def _now(made: Repository, *, sample: int = 5) -> DataChanges:
    return _between(made, "before", git.WORK_TREE, sample)


def test_the_same_is_not_read_at_all(repository: Repository) -> None:
    for path in (repository.folder / ".dvc/cache").rglob("*"):
        if path.is_file():
            path.unlink()
    assert _between(repository, "before", "HEAD") == DataChanges()


def test_rows_that_come_and_go(repository: Repository) -> None:
    new = [row(f"new post {k}", "no", k, source="forum") for k in range(3)]
    repository.run([*ROWS[:8], *new], side={ROWS[0]["text"]: "test", ROWS[1]["text"]: "test"}, params=PARAMS)
    found = _now(repository)
    assert found.train is not None
    assert found.test is not None
    assert (found.train.before, found.train.after) == (9, 9)
    assert (found.train.added.n, found.train.added.by) == (3, (Count("forum", "stress", 3),))
    assert {one.row_id for one in found.train.removed.sample} == {ROWS[k]["row_id"] for k in (1, 8, 9)}
    assert found.train.added.sample[0].text == "new post 0"
    assert [one.record for one in found.test.added.sample] == [1]
    assert found.moved == {"train → test": 1}
    assert found.missing == ()


def test_another_label_another_text_another_weight(repository: Repository) -> None:
    rows = [*ROWS[:7], row(ROWS[7]["text"], "no", 7), row("rewritten", "no", 8), ROWS[9]]
    repository.run(rows, side={ROWS[0]["text"]: "test"}, weight={ROWS[2]["text"]: 0.25}, params=PARAMS)
    train = _now(repository).train
    assert train is not None
    assert (train.added.n, train.removed.n) == (0, 0)
    ((was, now),) = train.relabelled.sample
    assert (was.label, now.label, was.text, now.record) == ("yes", "no", ROWS[7]["text"], 7)
    assert [(one.text, other.text) for one, other in train.edited.sample] == [(ROWS[8]["text"], "rewritten")]
    assert [(one.weight, other.weight) for one, other in train.reweighted.sample] == [(1.0, 0.25)]


def test_a_row_made_from_another_does_not_take_its_place(repository: Repository) -> None:
    child = row("a post made from another", "no", 2, parent_ids=[ROWS[2]["row_id"]])
    rows = [one for one in ROWS if one is not ROWS[2]]
    repository.run(rows, add=[child], side={ROWS[0]["text"]: "test"}, params=PARAMS)
    train = _now(repository).train
    assert train is not None
    assert (train.added.n, train.removed.n, train.edited.n) == (1, 1, 0)


def test_decisions_by_rule(repository: Repository) -> None:
    drop = {ROWS[k]["text"]: ("length", 1.0) for k in (2, 3, 4)} | {ROWS[5]["text"]: ("outlier", 8.0)}
    repository.run(ROWS, drop=drop, weight={ROWS[6]["text"]: 2.0}, side={ROWS[0]["text"]: "test"}, params=PARAMS)
    repository.commit("Strict")
    found = {(one.stage, one.rule): one for one in _between(repository, "before", "HEAD", 2).decisions}
    assert list(found) == [("clean", "length"), ("clean", "outlier"), ("balance", "reweighing")]
    length = found["clean", "length"]
    assert (length.dropped, length.newly_dropped, length.no_longer_dropped) == ((0, 3), 3, 0)
    assert length.sample == (ROWS[2]["row_id"], ROWS[4]["row_id"])
    assert (found["balance", "reweighing"].changed, found["balance", "reweighing"].newly_changed) == ((0, 1), 1)
    back = {(one.stage, one.rule): one for one in _between(repository, "HEAD", "before").decisions}
    assert (back["clean", "length"].dropped, back["clean", "length"].no_longer_dropped) == ((3, 0), 3)
    assert _between(repository, "before", "HEAD").test is None  # its folder changed, and the file did not
    drop[ROWS[7]["text"]] = ("length", 2.0)
    repository.run(ROWS, drop=drop, weight={ROWS[6]["text"]: 3.0}, side={ROWS[0]["text"]: "test"}, params=PARAMS)
    length, again = _between(repository, "HEAD", git.WORK_TREE).decisions
    assert (length.dropped, length.newly_dropped, length.sample) == ((3, 4), 1, (ROWS[7]["row_id"],))
    assert again.sample == (ROWS[6]["row_id"],)
    assert (again.rule, again.changed, again.otherwise_changed, again.newly_changed) == ("reweighing", (1, 1), 1, 0)


def test_sources_and_the_base_model(repository: Repository) -> None:
    changed = PARAMS.replace('"aa"', '"bb"').replace("hf://base", "hf://larger")
    more = changed.replace("fetch_model:", '    forum: {uri: "file:b.csv", sha256: "cc", license: null}\nfetch_model:')
    (repository.folder / "params.yaml").write_text(more)
    found = _now(repository)
    forum, web = found.sources
    assert (forum.name, forum.before, forum.after) == ("forum", None, Source("file:b.csv", "cc", None))
    assert web.before == Source("file:posts.csv", "aa", "MIT")
    assert web.after == Source("file:posts.csv", "bb", "MIT")
    assert found.base is not None
    assert found.base.after == Source("hf://larger", None, "MIT")
    assert found.train is None


def test_what_the_cache_lacks_is_told_and_the_rest_compared(repository: Repository) -> None:
    md5s = repository.run(ROWS[:6], side={ROWS[0]["text"]: "test"}, params=PARAMS)
    repository.commit("Fewer")
    repository.cached(md5s["data/train.parquet"]).unlink()
    repository.cached(md5s["data/ledger/clean.parquet"]).write_bytes(b"not parquet")
    found = _between(repository, "before", "HEAD")
    assert found.train is None
    assert "HEAD: data/ledger/clean.parquet: the cache holds another file than" in found.missing[0]
    lacks = f"the cache lacks data/train.parquet ({md5s['data/train.parquet']})"
    assert found.missing[1] == f"HEAD: {lacks}: `dvc fetch --all-commits`"


def test_a_lock_that_cannot_be_read_says_nothing_of_the_base_model(repository: Repository) -> None:
    repository.run(ROWS[:6], params=PARAMS)
    lock = repository.folder / "dvc.lock"
    base = (
        f"  fetch_model:\n    cmd: x\n    outs:\n    - path: models/base\n      hash: md5\n      md5: {'0' * 32}.dir\n"
    )
    lock.write_text(lock.read_text().rstrip() + "\n" + base)
    repository.commit("Before the conflict")
    lock.write_text("<<<<<<< ours\n" + lock.read_text())
    repository.commit("A conflict")
    found = _between(repository, "HEAD~1", "HEAD")
    assert found.base is None


def test_a_file_of_the_work_tree_stands_in_for_the_cache_if_it_is_that_file(repository: Repository) -> None:
    md5 = repository.run(ROWS[:6], side={ROWS[0]["text"]: "test"}, params=PARAMS)["data/train.parquet"]
    (repository.folder / "data").mkdir()
    repository.cached(md5).rename(repository.folder / "data/train.parquet")
    train = _now(repository).train
    assert train is not None
    assert train.removed.n == 4
    repository.cached(repository.keep(ROWS[:2])).rename(repository.folder / "data/train.parquet")
    assert _now(repository).train is None


def test_rows_of_an_older_schema_are_compared_as_far_as_they_go(tmp_path: Path) -> None:
    files = (tmp_path / "old.parquet", tmp_path / "new.parquet")
    ids = [[one["row_id"] for one in table] for table in (ROWS[:5], ROWS[1:])]
    for path, some in zip(files, ids, strict=True):
        pq.write_table(pa.table({"row_id": some, "source": ["web"] * len(some)}), path)
    found = set_changes.compare("data/train.parquet", files, 3)
    assert (found.removed.n, found.added.n, found.edited.n, found.reweighted.n) == (1, 5, 0, 0)
    assert found.removed.by == (Count("web", None, 1),)
    pq.write_table(pa.table({"row_id": ids[1], "weight": ["heavy"] * 9}), files[1])
    with pytest.raises(DataError, match="cannot be read as rows"):
        set_changes.compare("data/train.parquet", files, 3)


def test_a_revision_without_rows(repository: Repository) -> None:
    (repository.folder / "dvc.lock").unlink()
    assert _now(repository).missing == ("work tree: dvc.lock names no training rows",)


Table = list[Row]
tables = st.lists(
    st.builds(row, st.sampled_from("abcd"), st.sampled_from(["yes", "no"]), st.integers(0, 3)), max_size=9
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=tables, after=tables)
def test_the_numbers_are_those_of_counting(tmp_path: Path, before: Table, after: Table) -> None:
    """after = before - removed + added, and what is the same on both sides, counted with repeats, is untouched."""
    from clew import rows

    files = (tmp_path / "before.parquet", tmp_path / "after.parquet")
    for path, table in zip(files, (before, after), strict=True):
        rows.write(path, table)
    found = set_changes.compare("data/train.parquet", files, 50)
    assert found.after == found.before - found.removed.n + found.added.n
    one, other = (Counter(each["row_id"] for each in table) for table in (before, after))
    pairs = found.relabelled.n + found.edited.n
    assert (found.removed.n + pairs, found.added.n + pairs) == ((one - other).total(), (other - one).total())
    assert all(was.label != now.label and was.text == now.text for was, now in found.relabelled.sample)
    assert all(was.label == now.label and was.record == now.record for was, now in found.edited.sample)


def test_a_line_put_into_a_source_relabels_nothing(repository: Repository) -> None:
    """Every record moves by one, some labels change: a text stays itself, wherever it stands."""
    moved = [row("a new first post", "no", 0)]
    moved += [row(one["text"], "no" if k == 4 else one["label"], k + 1) for k, one in enumerate(ROWS)]
    repository.run(moved, side={ROWS[0]["text"]: "test"}, params=PARAMS)
    train = _now(repository).train
    assert train is not None
    assert (train.added.n, train.removed.n, train.relabelled.n, train.edited.n) == (1, 0, 0, 0)
    moved[6] = row(ROWS[5]["text"], "no", 6)
    moved[7] = row("another text under another label", "yes", 7)
    repository.run(moved, side={ROWS[0]["text"]: "test"}, params=PARAMS)
    train = _now(repository).train
    assert train is not None
    ((was, now),) = train.relabelled.sample
    assert (was.text, was.label, now.label, was.record, now.record) == (ROWS[5]["text"], "yes", "no", 5, 6)
    assert (train.added.n, train.removed.n, train.edited.n) == (2, 1, 0)


def test_a_lock_that_does_not_lead_on_made_what_it_made(repository: Repository) -> None:
    """Only the cleaning ran again: split read a data/clean.parquet that this lock no longer names."""
    old = stages(repository.run(ROWS, side={ROWS[0]["text"]: "test"}, params=PARAMS), ["sft"])
    drop = {ROWS[3]["text"]: ("length", 1.0)}
    new = stages(repository.run(ROWS, drop=drop, side={ROWS[0]["text"]: "test"}, params=PARAMS), ["sft"])
    (repository.folder / "dvc.lock").write_text(lock(old | {"clean": new["clean"]}))
    told = _diff("before", "work tree")
    assert "made no" not in told
    assert "no difference between the data" in told  # the models are those of `before`, and so is their data
    compared = CliRunner().invoke(app, ["compare", "before", ".", "--no-tests", "--json"])
    assert json.loads(compared.stdout)["revisions"][0]["went_in"]["missing"] == []
    repository.git("update-ref", "-d", "refs/tags/before")
    unknown = made_up("never committed")
    split = ([("data/clean.parquet", unknown)], new["split"][1])
    (repository.folder / "dvc.lock").write_text(lock(new | {"split": split}))
    told = _diff("HEAD", "work tree")
    assert f"! not compared: work tree: not known: what made data/clean.parquet ({unknown})" in told
    assert "made no" not in told


def test_what_a_terminal_would_obey_does_not_reach_it(repository: Repository) -> None:
    bad = row("evil \x1b]0;pwn\x07 \u202e text", "y\x1b[31mes", 11)
    repository.run([*ROWS, bad], side={ROWS[0]["text"]: "test"}, params=PARAMS)
    assert not {"\x1b", "\x07", "\u202e"} & set(_diff("before", "work tree"))
    assert "\u202e" not in _diff("before", "work tree", "--json")


def _diff(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["diff-data", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command(repository: Repository) -> None:
    rows = [*ROWS[:7], row(ROWS[7]["text"], "no", 7), ROWS[8]]
    drop = {ROWS[2]["text"]: ("length", 1.0)}
    repository.run(rows, drop=drop, side={ROWS[0]["text"]: "test"}, params=PARAMS.replace('"aa"', '"bb"'))
    told = _diff("before", "work tree")
    assert "~ source web: sha256 aa → bb" in told
    assert "data/train.parquet: 9 rows → 7\n  - 2 removed: 2 web/stress\n" in told
    assert "  ~ 1 relabelled: 1 web/stress\n      yes → no  " in told
    assert f"clean, length: dropped 0 → 1; 1 newly dropped ({ROWS[2]['row_id'][:12]})" in told
    assert "a row that is absent is not a person who is absent" in told
    found = json.loads(_diff("before", "work tree", "--json", "--sample", "0"))
    assert (found["train"]["removed"]["n"], found["train"]["removed"]["sample"]) == (2, [])
    assert _diff("before", "HEAD").startswith("no difference between the data of before and HEAD\n")


def test_a_commit_before_clew(repository: Repository) -> None:
    repository.git("rm", "-q", "dvc.lock", "params.yaml")
    repository.commit("Another project")
    told = _diff("before", "HEAD")
    assert "! HEAD: no params.yaml, dvc.yaml or dvc.lock: it is older than the experiment" in told
    assert "! not compared: HEAD: dvc.lock names no training rows" in told
