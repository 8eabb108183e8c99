"""With select and augment between split and balance: rows are traced, listed and compared through all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew import ledger
from clew.cli.main import app
from clew.history import repository as git
from clew.history import snapshot, store
from clew.history.lockfile import read
from clew.lineage import data_chain, data_changes
from examples.rows_repository import Repository, lock, row, stages

KEPT = row("everything is too loud and too fast", "yes", 0)
LEFT = row("the sea is calm and wide today", "no", 1)
TEST = row("a quiet evening with a long book", "no", 2)
CHILD = row("everything is too luod and too fast", "yes", 0, parent_ids=[KEPT["row_id"]])
SELECTED, AUGMENTED = "data/selected.parquet", "data/augmented.parquet"


def _run(made: Repository, *, on: bool) -> None:
    """A run that leaves LEFT out of train, and puts CHILD in; or one that has both stages switched off."""
    md5s = made.run([KEPT, LEFT, TEST], side={TEST["text"]: "test"})
    selected, augmented = ([KEPT], [KEPT, CHILD]) if on else ([KEPT, LEFT], [KEPT, LEFT])
    dropped = ledger.entry(LEFT, "select", "dropped", "score", score=0.2, threshold=0.9, detail="label_noise")
    added = ledger.entry(CHILD, "augment", "added", "typos", detail="1 letter")
    ledgers = {
        "select": [ledger.entry(KEPT, "select", "kept", score=0.9), dropped] if on else [],
        "augment": [ledger.entry(KEPT, "augment", "kept"), added] if on else [],
        "balance": [ledger.entry(one, "balance", "kept") for one in augmented],
    }
    md5s |= {SELECTED: made.keep(selected), AUGMENTED: made.keep(augmented), "data/train.parquet": made.keep(augmented)}
    md5s |= {f"data/ledger/{stage}.parquet": made.keep(some, ledger.SCHEMA) for stage, some in ledgers.items()}

    def some(*paths: str) -> list[tuple[str, str]]:
        return [(path, md5s[path]) for path in paths]

    of = stages(md5s, ["sft"]) | {
        "select": (some("data/splits"), some(SELECTED, "data/ledger/select.parquet")),
        "augment": (some(SELECTED, "data/splits"), some(AUGMENTED, "data/ledger/augment.parquet")),
        "balance": (some(AUGMENTED), some("data/train.parquet", "data/ledger/balance.parquet")),
    }
    (made.folder / "dvc.lock").write_text(lock(of))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repository")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    _run(made, on=False)
    made.commit("All of them")
    _run(made, on=True)
    made.commit("Fewer, and another")
    return made


def _clew(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["rows", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_row_is_traced_through_both(repository: Repository) -> None:
    def last(one: dict) -> list[tuple[str, str, str | None]]:
        (found,) = json.loads(_clew("trace", one["row_id"], "--json"))["rows"]
        return [(told["stage"], told["decision"], told["rule"]) for told in found["chapters"][-1]["decisions"]]

    assert last(LEFT)[-2:] == [("split", "kept", None), ("select", "dropped", "score")]
    assert [stage for stage, *_ in last(KEPT)] == ["prepare", "clean", "split", "select", "augment", "balance"]
    assert last(CHILD) == [("augment", "added", "typos"), ("balance", "kept", None)]
    assert f"children: {CHILD['row_id'][:12]}" in _clew("trace", KEPT["row_id"])
    assert f"made from: {KEPT['row_id'][:12]}" in _clew("trace", CHILD["row_id"])


def test_a_models_rows_are_those_that_were_selected_and_made(repository: Repository) -> None:
    assert [line.split("\t")[0] for line in _clew("of", "sft").splitlines()] == [KEPT["row_id"], CHILD["row_id"]]


def test_revisions_are_compared_by_what_was_left_out_and_put_in(repository: Repository) -> None:
    repo = git.open_repository(repository.folder)
    sides = [snapshot.take(repo, name) for name in ("HEAD~1", "HEAD")]
    found = data_changes.between(store.open_store(repository.folder), sides[0], sides[1], 5)
    assert found.train is not None
    assert (found.train.added.n, found.train.removed.n, found.train.edited.n) == (1, 1, 0)
    assert [(one.stage, one.rule, one.dropped) for one in found.decisions] == [("select", "score", (0, 1))]


@pytest.mark.parametrize(
    ("gone", "last"),
    [(["balance"], "augment"), (["balance", "augment"], "select"), (["balance", "augment", "select"], "split")],
)
def test_a_lock_that_is_not_made_to_its_end_leads_on_from_there(
    repository: Repository, gone: list[str], last: str
) -> None:
    of = read((repository.folder / "dvc.lock").read_text())
    chain = data_chain.chain({name: stage for name, stage in of.items() if name not in [*gone, "sft"]})
    assert [stage for stage, _ in chain.ledgers][-1] == last
    assert chain.splits is not None
    assert not chain.broken


def test_a_lock_that_has_lost_a_stage_says_so(repository: Repository) -> None:
    of = read((repository.folder / "dvc.lock").read_text())
    chain = data_chain.chain({name: stage for name, stage in of.items() if name != "augment"})
    assert [told for told in chain.broken if AUGMENTED in told]
