"""`clew rows trace`: a row's biography in every commit, asked for by id, by text and by file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clew.cli.main import app
from clew.errors import ClewError
from clew.history.index import Entry
from clew.history.repository import Commit
from clew.lineage import row_history
from examples.rows_repository import Repository, lock, made_up, row, stages

CALM = row("the sea is calm and wide today", "no", 0)
LOUD = row("everything is too loud and too fast", "yes", 1)
SHORT = row("help", "yes", 2)
TEST = row("a quiet evening with a long book", "no", 3)
ROWS = [CALM, LOUD, SHORT, TEST]
SIDE = {TEST["text"]: "test"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """main: two commits that keep SHORT, one that drops it; branch lora: two models more."""
    made = Repository(tmp_path / "repository")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    made.commit("Begin")
    made.run(ROWS, side=SIDE)
    made.commit("Train")
    made.run(ROWS, side=SIDE, params="seed: 14\n")
    made.commit("Another seed")
    made.git("checkout", "-q", "-b", "lora")
    made.run(ROWS, side=SIDE, models=["sft", "aligned", "int8"], weight={LOUD["text"]: 0.5})
    made.commit("Align")
    made.git("checkout", "-q", "main")
    made.run(ROWS, side=SIDE, drop={"help": ("length", 1.0)})
    made.commit("Drop short posts")
    return made


def _clew(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["rows", "trace", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def _json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_clew(*arguments, "--json"))
    return found


def _error(*arguments: str) -> str:
    with pytest.raises(ClewError) as error:
        _clew(*arguments)
    return str(error.value)


def test_a_row_is_followed_from_its_line_to_the_models_commit_by_commit(repository: Repository) -> None:
    found = _json(SHORT["row_id"])
    (told,) = found["rows"]
    assert (told["source"], told["file"], told["record"]) == ("web", "posts.csv", 2)
    assert (told["task"], told["label"], told["text"], told["absent"]) == ("stress", "yes", "help", 0)
    kept, lora, dropped = sorted(told["chapters"], key=lambda one: -one["commits"] * 10 + len(one["decisions"]) * -1)
    assert (kept["first"]["title"], kept["last"]["title"], kept["commits"]) == ("Train", "Another seed", 2)
    assert (kept["heads"], sorted(kept["within"]), kept["models"]) == ([], ["lora", "main"], ["models/sft"])
    assert (lora["heads"], lora["models"]) == (["lora"], ["models/sft", "models/aligned", "models/int8"])
    assert (dropped["heads"], dropped["trained"], dropped["models"]) == (["main"], False, [])
    assert dropped["decisions"][-1] == {
        "stage": "clean",
        "decision": "dropped",
        "rule": "length",
        "score": 1.0,
        "threshold": 3.0,
        "detail": "1 words",
        "file": "posts.csv",
        "record": 2,
    }


def test_the_words_on_the_terminal(repository: Repository) -> None:
    told = _clew(SHORT["row_id"][:8])
    dropped = told.index("now on main  “Drop short posts”")
    assert "clean: dropped by length (score 1, threshold 3, 1 words)" in told[dropped:]
    assert "2 commits, earlier, in lora, main" in told
    assert "in training, weight 1 → models/sft, models/aligned, models/int8\n    fed: not recorded" in told
    assert "other commit" not in told
    assert "a paraphrase is another row, a row that is absent is not a person who is absent" in told
    weighed = _clew(LOUD["row_id"])
    assert "balance: changed by reweighing (score 0.5)\n    in training, weight 0.5 → " in weighed
    assert "split: kept (test)\n    side: test" in _clew(TEST["row_id"])


def test_what_the_index_keeps_is_believed_without_the_cache_and_scores_are_not(repository: Repository) -> None:
    before = _json(SHORT["row_id"])["rows"][0]["chapters"]
    shutil.rmtree(repository.folder / ".dvc/cache")
    after = _json(SHORT["row_id"])["rows"][0]["chapters"]
    assert [one["models"] for one in after] == [one["models"] for one in before]
    assert [one["read"] for one in after] == [False, False, False]


def test_a_new_commit_is_seen_and_what_does_not_change_is_not_read_again(repository: Repository) -> None:
    _clew(SHORT["row_id"])
    for path in (repository.folder / ".dvc/cache").rglob("*"):
        if path.is_file() and path.stat().st_size > 3000:  # the ledgers stay
            path.unlink()
    new = row("the dog barks at night", "yes", 4)
    repository.run([*ROWS, new], side=SIDE)
    repository.commit("One more post")
    assert _json(new["row_id"])["rows"][0]["chapters"][0]["last"]["title"] == "One more post"
    assert _json(SHORT["row_id"])["missing"] == []


def test_the_work_tree_counts_before_it_is_committed(repository: Repository) -> None:
    repository.run(ROWS, side=SIDE, drop={LOUD["text"]: ("outlier", 9.0)})
    last = _json(LOUD["row_id"])["rows"][0]["chapters"][-1]
    assert (last["last"], last["decisions"][-1]["rule"]) == (None, "outlier")
    assert "work tree (not committed)\n    prepare: kept\n    clean: dropped by outlier" in _clew(LOUD["row_id"])


def test_one_revision_only(repository: Repository) -> None:
    told = _json(SHORT["row_id"], "--rev", "lora")["rows"][0]["chapters"]
    assert [(one["last"]["title"], one["commits"]) for one in told] == [("Align", 1)]
    repository.run(ROWS[:2], side=SIDE)
    repository.commit("Fewer posts")
    assert "in none of the commits that were asked" in _clew(SHORT["row_id"], "--rev", "HEAD")


def test_children_and_parents_and_how_often_a_row_was_fed(repository: Repository) -> None:
    child = row("everything is too loud and too fast for her", "yes", 1, parent_ids=[LOUD["row_id"]])
    repository.run(ROWS, side=SIDE, add=[child], fed={LOUD["text"]: 3})
    repository.commit("Counterfactuals")
    parent, other = _json(LOUD["row_id"])["rows"][0], _json(CALM["row_id"])["rows"][0]
    assert parent["children"] == [child["row_id"]]
    assert parent["chapters"][-1]["fed"] == {"sft": {"times_fed": 3}}
    assert (other["children"], other["chapters"][-1]["fed"]) == ([], {"sft": {}})
    assert "fed: sft times fed 3" in _clew(LOUD["row_id"])
    assert "fed: sft never" in _clew(CALM["row_id"])
    told = _json(child["row_id"])["rows"][0]["chapters"]
    assert [(one["stage"], one["decision"]) for one in told[-1]["decisions"]] == [("balance", "added")]


def test_a_duplicate_is_two_decisions_about_one_id(repository: Repository) -> None:
    import clew.ledger as book

    twin = CALM | {"origin": {"file": "posts.csv", "record": 9}}
    entries = [book.entry(CALM, "clean", "kept"), book.entry(twin, "clean", "dropped", "duplicate")]
    md5s = repository.run([CALM, twin, LOUD, TEST], side=SIDE)
    md5s["data/ledger/clean.parquet"] = repository.keep(entries, book.SCHEMA)
    (repository.folder / "dvc.lock").write_text(lock(stages(md5s, ["sft"])))
    repository.commit("Duplicates")
    decisions = _json(CALM["row_id"], "--rev", "HEAD")["rows"][0]["chapters"][0]["decisions"]
    assert [one["decision"] for one in decisions if one["stage"] == "clean"] == ["kept", "dropped"]


def test_rows_by_their_text_however_it_is_written(repository: Repository) -> None:
    same = row(CALM["text"], "yes", 7)  # the same text under another label is another row
    repository.run([*ROWS, same, row("", "no", 8)], side=SIDE)
    repository.commit("Two opinions")
    found = _json("--text", "The SEA is calm,\n and   wide — today!")
    assert {one["row_id"] for one in found["rows"]} == {CALM["row_id"], same["row_id"]}
    assert "no row has this text" in _error("--text", "the sea is calm today")
    assert "differs by a letter" in _error("--text", " ")


def test_rows_of_a_file(repository: Repository, tmp_path: Path) -> None:
    names = [{"row_id": SHORT["row_id"][:10]}, {"text": LOUD["text"].upper()}, {"text": "gone"}, {"row_id": "0" * 64}]
    path = tmp_path / "withdrawn.jsonl"
    path.write_text("\n\n".join(json.dumps(name) for name in names) + "\n")
    found = _json("--file", str(path))
    assert [one["row_id"] for one in found["rows"]] == [SHORT["row_id"], LOUD["row_id"]]
    assert found["unknown"] == ["gone", "0" * 64]
    assert "2 of 4 were found, as 2 rows\n! not found: gone" in _clew("--file", str(path))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "rows.jsonl: the file names no rows"),
        ('{"text": "a"}\n{"text": \n', "rows.jsonl, line 2: not JSON"),
        ('\n["a"]', "rows.jsonl, line 2: neither a row_id nor a text"),
        ('{"row_id": 7}', "rows.jsonl, line 1: neither a row_id nor a text"),
        ('{"row_id": "0123456z"}', "rows.jsonl, line 1: not a row id: '0123456z'"),
    ],
)
def test_a_bad_line_is_named(repository: Repository, text: str, error: str) -> None:
    (repository.folder / "rows.jsonl").write_text(text)
    assert error in _error("--file", "rows.jsonl")


def test_what_names_no_row_is_told_in_plain_words(repository: Repository, tmp_path: Path) -> None:
    assert "0123456: not a row id. A row id is 64 hex digits; its first 8 or more" in _error("0123456")
    assert "not a row id" in _error("the sea is calm")
    assert "no row of this id. Looked in the rows of 3 distinct pipelines of 5 commits." in _error("0" * 64)
    assert "name rows in one way" in _error()
    assert "name rows in one way" in _error(SHORT["row_id"], "--text", "help")
    assert "loraa: no such revision. Did you mean `lora`" in _error(SHORT["row_id"], "--rev", "loraa")
    assert "the file cannot be read" in _error("--file", "nowhere.jsonl")
    before = _error(SHORT["row_id"], "--rev", "main~3")
    assert before.startswith("main~3: dvc.lock names no rows. Name a later revision")
    assert "older than the experiment" in before


def test_a_beginning_that_two_rows_share(repository: Repository) -> None:
    twins = [row(f"twin {k}", "no", k) | {"row_id": f"{'ab' * 31}0{k}"} for k in (1, 2)]
    repository.run(twins)
    repository.commit("Twins")
    assert "abababab: 2 rows begin so. Name more digits: abababab" in _error("abababab")
    assert _json("ab" * 31 + "02")["rows"][0]["text"] == "twin 2"


def test_what_the_cache_lacks_is_named_and_nothing_is_said_of_it(repository: Repository) -> None:
    md5s = repository.run(ROWS, side=SIDE, drop={LOUD["text"]: ("outlier", 9.0)})
    repository.commit("Outliers")
    repository.cached(md5s["data/ledger/clean.parquet"]).unlink()
    repository.cached(md5s["data/splits"]).unlink()
    told = _clew(LOUD["row_id"], "--rev", "HEAD")
    assert "so nothing is said of: data/ledger/clean.parquet, data/splits/" in told
    assert f"data/ledger/clean.parquet ({md5s['data/ledger/clean.parquet']})" in told
    chapter = _json(LOUD["row_id"], "--rev", "HEAD")["rows"][0]["chapters"][0]
    assert chapter["unknown"] == ["data/ledger/clean.parquet", "data/splits/"]


def test_a_cache_file_that_is_no_parquet_is_one_more_that_is_missing(repository: Repository) -> None:
    md5s = repository.run(ROWS, side=SIDE, drop={LOUD["text"]: ("outlier", 9.0)})
    repository.cached(md5s["data/ledger/clean.parquet"]).write_bytes(b"not parquet")
    repository.cached(md5s["data/train.parquet"]).write_bytes(repository.cached(md5s["data/rows.parquet"]).read_bytes())
    missing = _json(LOUD["row_id"])["missing"]
    assert sum("the cache holds another file than" in line for line in missing) == 2
    assert not _json(LOUD["row_id"])["rows"][0]["chapters"][-1]["trained"]


def test_a_ledger_that_a_stage_left_behind_is_not_asked(repository: Repository) -> None:
    """dvc.lock keeps the entry of a stage that was switched off: its data is no part of what the model saw."""
    import clew.ledger as book

    md5s = repository.run(ROWS, side=SIDE)
    stale = repository.keep([book.entry(one, "augment", "dropped", "toxic") for one in ROWS], book.SCHEMA)
    named = stages(md5s, ["sft"])
    named["augment"] = (
        [("data/clean.parquet", made_up("an old clean.parquet"))],
        [("data/ledger/augment.parquet", stale), ("data/augmented.parquet", made_up("augmented"))],
    )
    (repository.folder / "dvc.lock").write_text(lock(named))
    repository.commit("Augment no more")
    assert "augment" not in _clew(CALM["row_id"], "--rev", "HEAD")


@pytest.mark.parametrize("first", [True, False])
def test_of_two_stages_that_made_the_training_set_the_one_that_the_model_used_counts(
    repository: Repository, first: bool
) -> None:
    """A stage was renamed: its old entry stands in dvc.lock above or below, with older files at the same paths."""
    old = stages(repository.run(ROWS[1:], side=SIDE, drop={"help": ("length", 1.0)}), ["sft"])
    new = stages(repository.run(ROWS, side=SIDE), ["sft"])
    stale = {f"old_{name}": old[name] for name in ("clean", "split", "balance")}
    (repository.folder / "dvc.lock").write_text(lock({**stale, **new} if first else {**new, **stale}))
    repository.commit("Rename stages")
    (chapter,) = _json(SHORT["row_id"], "--rev", "HEAD")["rows"][0]["chapters"]
    assert [(one["stage"], one["decision"]) for one in chapter["decisions"]] == [
        (name, "kept") for name in ("prepare", "clean", "split", "balance")
    ]
    assert (chapter["trained"], chapter["models"]) == (True, ["models/sft"])


def test_a_damaged_or_old_index_of_rows_is_made_anew(repository: Repository) -> None:
    expected = _json(SHORT["row_id"])
    place = repository.folder / ".clew/rows.sqlite"
    for damage in (b"", b"no database at all" * 500, place.read_bytes()[:9000]):
        place.write_bytes(damage)
        assert _json(SHORT["row_id"]) == expected


def test_a_repository_without_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Repository(tmp_path / "empty")
    monkeypatch.chdir(made.folder)
    assert "the repository has no commits" in _error("0" * 64)


def test_a_bare_clone_tells_that_it_has_no_cache(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository.folder), str(bare)], check=True)
    monkeypatch.chdir(bare)
    assert "Not in the cache: " in _error(SHORT["row_id"])
    assert not (bare / ".clew").exists()


def test_a_shallow_clone_says_that_older_commits_were_not_searched(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow = tmp_path / "shallow"
    url = f"file://{repository.folder}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", url, str(shallow)], check=True)
    shutil.copytree(repository.folder / ".dvc", shallow / ".dvc")
    monkeypatch.chdir(shallow)
    assert "this clone is shallow: older commits were not searched" in _clew(SHORT["row_id"])


def test_nothing_is_written_but_the_index(repository: Repository) -> None:
    before = {path: path.stat().st_mtime_ns for path in repository.folder.rglob("*") if path.is_file()}
    _clew(SHORT["row_id"])
    after = {path: path.stat().st_mtime_ns for path in repository.folder.rglob("*") if path.is_file()}
    clew = repository.folder / ".clew"
    assert {path: time for path, time in after.items() if clew not in path.parents} == before


@pytest.mark.parametrize(
    "command", [["rows", "trace", SHORT["row_id"]], ["diff-data", "main", "lora"], ["rows", "of", "sft"]]
)
def test_pandas_is_not_imported_on_the_way(repository: Repository, command: list[str]) -> None:
    """pyarrow does so to convert values, and it takes longer than all the rest."""
    code = (
        "import sys\nfrom clew.cli import main\n"
        f"sys.argv = ['clew', *{command!r}]\ntry: main.main()\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted({'pandas', 'torch', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['pyarrow']"


def test_a_chapter_tells_what_is_true_of_all_its_commits(repository: Repository) -> None:
    """Three branches weigh and feed the row differently, and decide the same about it."""
    for name, weight, times in (("base", 2.0, 3), ("one", 9.0, 100), ("two", 0.5, 1)):
        repository.git("checkout", "-q", *(("-b", name) if name == "base" else ("-b", name, "base")))
        repository.run(ROWS, side=SIDE, weight={LOUD["text"]: weight}, fed={LOUD["text"]: times})
        repository.commit(f"Weigh by {weight}")
    chapters = [one for one in _json(LOUD["row_id"])["rows"][0]["chapters"] if one["fed"]]
    assert [(one["heads"], one["weight"], one["fed"]["sft"]["times_fed"]) for one in chapters] == [
        (["base"], 2.0, 3),
        (["one"], 9.0, 100),
        (["two"], 0.5, 1),
    ]
    assert [one["ids"] for one in chapters] == [[repository.git("rev-parse", name)] for name in ("base", "one", "two")]


def test_scores_that_differ_part_chapters(repository: Repository) -> None:
    for score in (1.0, 2.0):
        repository.run(ROWS, side=SIDE, drop={"help": ("length", score)})
        repository.commit(f"Score {score}")
    told = _json(SHORT["row_id"])["rows"][0]["chapters"][-2:]
    assert [one["decisions"][-1]["score"] for one in told] == [1.0, 2.0]
    assert [len(one["ids"]) for one in told] == [2, 1]  # the first has the score of "Drop short posts"


def _spliced(repository: Repository, old: str, *names: str) -> None:
    """dvc.lock with the entries of these stages as they were in `old`."""
    new = _entries((repository.folder / "dvc.lock").read_text())
    kept = {name: _entries(old)[name] if name in names else entry for name, entry in new.items()}
    (repository.folder / "dvc.lock").write_text("schema: '2.0'\nstages:\n" + "".join(kept.values()))


def _entries(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.split("stages:\n")[1].splitlines(keepends=True):
        if not line.startswith("    "):
            name = line.strip(" :\n")
        found[name] = found.get(name, "") + line
    return found


def test_where_a_lock_does_not_lead_on_the_history_is_asked_who_made_it(repository: Repository) -> None:
    """`dvc repro clean` alone: split read a data/clean.parquet that this lock no longer names."""
    repository.run(ROWS, side=SIDE)
    old = (repository.folder / "dvc.lock").read_text()
    repository.run(ROWS, side=SIDE, drop={LOUD["text"]: ("outlier", 9.0)})
    _spliced(repository, old, "split", "balance", "sft")
    repository.commit("Clean again, alone")
    chapter = _json(LOUD["row_id"], "--rev", "HEAD")["rows"][0]["chapters"][0]
    stages_told = [(one["stage"], one["decision"]) for one in chapter["decisions"]]
    assert stages_told == [(name, "kept") for name in ("prepare", "clean", "split", "balance")]
    assert chapter["models"] == ["models/sft"]
    assert _json(LOUD["row_id"])["rows"][0]["absent"] == 0


def test_where_nobody_knows_who_made_a_file_nothing_is_said_of_it(repository: Repository) -> None:
    unknown = made_up("never committed")
    text = lock(stages(repository.run([CALM, LOUD, TEST], side=SIDE), ["sft"]))
    head, tail = text.split("  split:\n")
    md5 = tail.split("data/clean.parquet\n      hash: md5\n      md5: ")[1][:32]
    (repository.folder / "dvc.lock").write_text(head + "  split:\n" + tail.replace(md5, unknown))
    repository.commit("A lock that does not lead on")
    assert _json(SHORT["row_id"])["rows"][0]["absent"] == 0
    assert f"Not known: what made data/clean.parquet ({unknown})" in _error("0" * 64)
    chapter = _json(LOUD["row_id"], "--rev", "HEAD")["rows"][0]["chapters"][0]
    assert chapter["unknown"] == [f"what made data/clean.parquet ({unknown})"]


def test_a_model_that_was_not_trained_again_is_told_with_its_own_training_set(repository: Repository) -> None:
    repository.run(ROWS, side=SIDE)
    old = (repository.folder / "dvc.lock").read_text()
    repository.run(ROWS, side=SIDE, drop={LOUD["text"]: ("withdrawn", 1.0)})
    _spliced(repository, old, "sft")
    repository.commit("Withdraw, without training")
    told = _clew(LOUD["row_id"], "--rev", "HEAD")
    assert "clean: dropped by withdrawn" in told
    assert "in the training set that models/sft was made from (another run of the data stages)" in told
    assert _json(LOUD["row_id"], "--rev", "HEAD")["rows"][0]["chapters"][0]["elsewhere"] == ["models/sft"]


def test_of_two_training_sets_that_models_used_neither_is_preferred(repository: Repository) -> None:
    old = stages(repository.run([CALM, TEST], side=SIDE), ["sft"])
    new = stages(repository.run(ROWS, side=SIDE, models=["aligned"]), ["aligned"])
    stale = {f"old_{name}": old[name] for name in ("clean", "split", "balance")}
    for first, last, trained in ((stale, new, ["models/aligned"]), (new, stale, [])):
        (repository.folder / "dvc.lock").write_text(lock({**first, **last, "sft": old["sft"]}))
        repository.commit("Two training sets")
        chapters = _json(LOUD["row_id"], "--rev", "HEAD")["rows"][0]["chapters"]
        assert chapters[0]["models"] == trained
        assert chapters[0]["elsewhere"] == ([] if trained else ["models/aligned"])


def test_absent_counts_neither_what_is_unknown_nor_what_has_no_rows(repository: Repository) -> None:
    md5s = repository.run(ROWS[:2], side=SIDE)
    repository.commit("Fewer")
    assert _json(SHORT["row_id"])["rows"][0]["absent"] == 1
    repository.run(ROWS[:1], side=SIDE)
    assert _json(SHORT["row_id"])["rows"][0]["absent"] == 1  # the work tree is no commit
    (repository.folder / ".clew/rows.sqlite").unlink()
    repository.cached(md5s["data/ledger/prepare.parquet"]).unlink()
    assert _json(SHORT["row_id"])["rows"][0]["absent"] == 0


def test_stories_are_in_the_order_of_time_and_parents_come_first_whatever_their_clocks_say() -> None:
    def entry(name: str, time: int, *parents: str) -> Entry:
        return Entry(Commit(name, parents, "Ada", "ada@example.org", time, name), None, None, (), False)

    walked = [entry("a", 10), entry("b1", 20, "a"), entry("b2", 50, "b1"), entry("c1", 30, "a"), entry("c2", 5, "c1")]
    assert [one.commit.id for one in row_history._by_time(walked)] == ["a", "b1", "c1", "c2", "b2"]
