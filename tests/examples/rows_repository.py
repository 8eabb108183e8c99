"""A git repository with DVC's cache, as a few runs of clew's data stages leave it; no stage is run."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from clew import io, keys, ledger, rows

Row = dict[str, Any]
SIDES = ("train", "valid", "test")


def row(text: str, label: str = "yes", record: int = 0, *, parent_ids: Sequence[str] = (), source: str = "web") -> Row:
    """A row of the schema, with its real id."""
    content = {
        "task": "stress",
        "messages": [{"role": "user", "content": f"Post: {text}"}],
        "text": text,
        "completion": label,
        "label": label,
        "choices": ["yes", "no"],
        "rejected": None,
    }
    return {
        "row_id": rows.row_id(content, keys.PUBLIC),
        "source": source,
        "origin": {"file": "posts.csv", "record": record},
        **content,
        "groups": None,
        "annotations": None,
        "weight": 1.0,
        "parent_ids": list(parent_ids),
    }


class Repository:
    """A repository in `folder`, which is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")
        (folder / ".gitignore").write_text(".clew/\n.dvc/\n")

    def git(self, *arguments: str) -> str:
        """Run git."""
        done = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, title: str) -> str:
        """Commit all files; the commit's id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", title)
        return self.git("rev-parse", "HEAD")

    def cached(self, md5: str) -> Path:
        """Where DVC's cache keeps an object."""
        return self.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]

    def keep(self, table: Sequence[Row], schema: pa.Schema = rows.SCHEMA) -> str:
        """Put rows into the cache as parquet; their md5."""
        aside = self.folder / ".dvc" / "aside.parquet"
        io.write_parquet(aside, table, schema)
        return self._into_cache(aside.read_bytes())

    def _into_cache(self, data: bytes, end: str = "") -> str:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() + end
        self.cached(md5).parent.mkdir(parents=True, exist_ok=True)
        self.cached(md5).write_bytes(data)
        return md5

    def keep_folder(self, members: Mapping[str, str]) -> str:
        """Put a folder's listing into the cache; its md5."""
        listing = [{"md5": md5, "relpath": name} for name, md5 in sorted(members.items())]
        return self._into_cache(json.dumps(listing).encode(), ".dir")

    def run(
        self,
        table: Sequence[Row],
        *,
        drop: Mapping[str, tuple[str, float]] | None = None,
        side: Mapping[str, str] | None = None,
        weight: Mapping[str, float] | None = None,
        add: Sequence[Row] = (),
        models: Sequence[str] = ("sft",),
        fed: Mapping[str, int] | None = None,
        params: str = "seed: 13\n",
    ) -> dict[str, Any]:
        """Write what the stages make of rows, by their texts, and the dvc.lock; returns md5s by path.

        drop: text → (rule, score) of the cleaning. side: train where it is not named. add: rows of the balance stage.
        fed: text → how often sft was fed it.
        """
        dropped, sides, weights = drop or {}, side or {}, weight or {}
        left = [one for one in table if one["text"] not in dropped]
        of_side = {name: [one for one in left if sides.get(one["text"], "train") == name] for name in SIDES}
        train = [one | {"weight": weights.get(one["text"], 1.0)} for one in of_side["train"]] + list(add)
        clean = [_cleaned(one, dropped) for one in table]
        split = [ledger.entry(one, "split", "kept", detail=sides.get(one["text"], "train")) for one in left]
        balance = [_balanced(one, weights) for one in of_side["train"]]
        balance += [ledger.entry(one, "balance", "added", "counterfactual") for one in add]
        md5s = {
            "data/rows.parquet": self.keep(table),
            "data/ledger/prepare.parquet": self._ledger([ledger.entry(one, "prepare", "kept") for one in table]),
            "data/clean.parquet": self.keep(left),
            "data/ledger/clean.parquet": self._ledger(clean),
            "data/splits": self.keep_folder({f"{name}.parquet": self.keep(of_side[name]) for name in SIDES}),
            "data/ledger/split.parquet": self._ledger(split),
            "data/train.parquet": self.keep(train),
            "data/ledger/balance.parquet": self._ledger(balance),
        }
        if fed is not None:
            times = [{"row_id": one["row_id"], "times_fed": fed[one["text"]]} for one in train if one["text"] in fed]
            schema = pa.schema([("row_id", pa.string()), ("times_fed", pa.int64())])
            md5s["data/fed/sft.parquet"] = self.keep(times, schema)
        for name in models:
            md5s[f"models/{name}"] = made_up(name, md5s["data/train.parquet"]) + ".dir"
        (self.folder / "dvc.lock").write_text(lock(stages(md5s, models)))
        (self.folder / "params.yaml").write_text(params)
        return md5s

    def _ledger(self, entries: Sequence[Row]) -> str:
        return self.keep(entries, ledger.SCHEMA)


def _cleaned(one: Row, dropped: Mapping[str, tuple[str, float]]) -> Row:
    if one["text"] not in dropped:
        return ledger.entry(one, "clean", "kept")
    rule, score = dropped[one["text"]]
    return ledger.entry(one, "clean", "dropped", rule, score=score, threshold=3.0, detail=f"{score:g} words")


def _balanced(one: Row, weights: Mapping[str, float]) -> Row:
    if one["text"] not in weights:
        return ledger.entry(one, "balance", "kept")
    return ledger.entry(one, "balance", "changed", "reweighing", score=weights[one["text"]])


def made_up(*parts: str) -> str:
    """An md5 of nothing in particular."""
    return hashlib.md5("/".join(parts).encode(), usedforsecurity=False).hexdigest()


Stages = dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]]
"""stage → (deps, outs), each (path, md5)."""


def stages(md5s: Mapping[str, str], models: Sequence[str]) -> Stages:
    """The stages of a run; models after the first are made from the one before them."""

    def some(*paths: str) -> list[tuple[str, str]]:
        return [(path, md5s[path]) for path in paths if path in md5s]

    found: Stages = {
        "prepare": ([], some("data/rows.parquet", "data/ledger/prepare.parquet")),
        "clean": (some("data/rows.parquet"), some("data/clean.parquet", "data/ledger/clean.parquet")),
        "split": (some("data/clean.parquet"), some("data/splits", "data/ledger/split.parquet")),
        "balance": (some("data/splits"), some("data/train.parquet", "data/ledger/balance.parquet")),
    }
    for before, name in zip(["", *models], models, strict=False):
        deps = some(f"models/{before}") if before else some("data/splits", "data/train.parquet")
        found[name] = (deps, some(f"models/{name}", f"data/fed/{name}.parquet"))
    return found


def lock(of: Stages) -> str:
    """A dvc.lock, as DVC writes it."""
    lines = ["schema: '2.0'", "stages:"]
    for name, sides in of.items():
        lines += [f"  {name}:", f"    cmd: clew stage {name}"]
        for word, artifacts in zip(("deps", "outs"), sides, strict=True):
            lines += [f"    {word}:"] if artifacts else []
            for path, md5 in artifacts:
                lines += [f"    - path: {path}", "      hash: md5", f"      md5: {md5}", "      size: 1"]
    return "\n".join(lines) + "\n"
