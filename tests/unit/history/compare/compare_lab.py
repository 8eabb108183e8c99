"""A small experiment in git and DVC's cache: base and sft answer yes or no about posts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from clew import io, rows
from clew.evaluation import quality
from clew.history import lockfile, repository
from clew.history.compare import view as views
from clew.history.compare.model import Number, Side, View
from examples.history import commit, git

N = 80
PIPELINE = """\
stages:
  sft:
    cmd: clew stage sft
  predict:
    foreach: ${predict.variants}
    do:
      cmd: clew stage predict ${item}
  evaluate:
    cmd: clew stage evaluate
    metrics:
      - metrics/quality.json: {cache: false}
      - metrics/fairness.json: {cache: false}
  report:
    cmd: clew stage report
metrics:
  - metrics/latency.json
"""
AUDIT = {"privileged": "he", "unprivileged": "she", "favorable": "yes"}
PARITY = "stress.pronoun.statistical_parity_difference"


def md5(text: str | bytes) -> str:
    return hashlib.md5(text.encode() if isinstance(text, str) else text, usedforsecurity=False).hexdigest()


def predictions(wrong: Collection[int], ids: Collection[int] = range(N), sure: float = 2.0) -> list[dict[str, Any]]:
    """Rows `ids`, answered rightly but for those in `wrong`; even rows are "yes", every third is she."""
    found = []
    for i in ids:
        label = "yes" if i % 2 == 0 else "no"
        answer = label if i not in wrong else ("no" if label == "yes" else "yes")
        found.append(
            {
                "row_id": f"{i:064x}",
                "source": "posts",
                "task": "stress",
                "label": label,
                "reference": label,
                "choices": ["yes", "no"],
                "scores": [-0.1, -0.1 - sure] if answer == "yes" else [-0.1 - sure, -0.1],
                "prediction": answer,
                "logprob": -0.1 if answer == label else -0.1 - sure,
                "tokens": 2,
                "groups": {"pronoun": "she" if i % 3 == 0 else "he"},
            }
        )
    return found


class Lab:
    """The repository. What is not given to `files` is as it was in the default experiment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        git(root, "init", "-q", "-b", "main")
        (root / ".gitignore").write_text("/.dvc/cache/\n/data/\n/models/\n")

    def files(
        self,
        *,
        rate: float = 0.001,
        wrong: Collection[int] = range(0, N, 4),
        base: Collection[int] = range(0, N, 2),
        ids: Collection[int] = range(N),
        code: str = "train()\n",
        ran_code: str | None = None,
        ran_rate: float | None = None,
        cached: bool = True,
        rename: str = "sft",
        sure: float = 2.0,
    ) -> dict[str, str | None]:
        """The files of a revision; its predictions go into the cache where `cached`.

        wrong, base: the rows that sft and base answer wrongly; sure: how far apart sft scores its choices.
        ran_code, ran_rate: what dvc.lock says sft ran with.
        """
        answers = {"base": predictions(base, ids), "sft": predictions(wrong, ids, sure)}
        digests = {variant: self.keep(variant, found, cached) for variant, found in answers.items()}
        measured: dict[str, Any] = quality.measure(answers, resamples=200, confidence=0.95, seed=1)
        for variant, size in (("base", 1000), ("sft", 1010)):
            measured[variant]["model"] = {"size_bytes": {"value": size, "low": size, "high": size, "n": 1}}
        measured = {variant: dict(tasks) for variant, tasks in measured.items()}
        texts: dict[str, str | None] = {
            "params.yaml": f"seed: 1\nsft:\n  learning_rate: {rate}\n  epochs: 1\n"
            "predict:\n  variants: [base, sft]\nevaluate:\n  resamples: 200\n  confidence: 0.95\n",
            "dvc.yaml": PIPELINE,
            "src/train.py": code,
            "metrics/quality.json": json.dumps(measured),
            "metrics/fairness.json": json.dumps({variant: fairness(found) for variant, found in answers.items()}),
            "metrics/latency.json": "{}",
        }
        ran = f"{rate if ran_rate is None else ran_rate}|{code if ran_code is None else ran_code}"
        texts["dvc.lock"] = self.lock(texts, ran, digests, rename)
        return texts

    def keep(self, variant: str, found: list[dict[str, Any]], cached: bool) -> str:
        """Write predictions into the cache and name them by md5."""
        aside = self.root / ".git" / f"{variant}.parquet"
        io.write_parquet(aside, found, rows.PREDICTION_SCHEMA)
        digest = md5(aside.read_bytes())
        if cached:
            aside.replace(self.place(digest))
        return digest

    def place(self, digest: str) -> Path:
        """Where the cache keeps a file."""
        place = self.root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def digest(self, lock: str, path: str) -> str:
        """The md5 of an out by a dvc.lock's text."""
        return next(o.md5 for s in lockfile.read(lock).values() for o in s.outs if o.path == path)

    def as_folder(self, lock: str) -> lockfile.Artifact:
        """The out that data/predictions would be, had one stage made it; its listing goes into the cache."""
        names = [f"{variant}.parquet" for variant in ("base", "sft")]
        entries = [{"md5": self.digest(lock, f"data/predictions/{name}"), "relpath": name} for name in names]
        text = json.dumps(entries)
        self.place(md5(text) + ".dir").write_text(text)
        return lockfile.Artifact("data/predictions", md5(text) + ".dir", None, 2)

    def lock(self, texts: dict[str, str | None], ran: str, digests: dict[str, str], rename: str) -> str:
        rate, _, code = ran.partition("|")
        model, quality_md5 = md5(ran + digests["sft"]), md5(str(texts["metrics/quality.json"]))
        params = [f"        sft:\n          learning_rate: {rate}\n          epochs: 1", "        seed: 1"]
        stages = [
            stage(rename, {"src/train.py": md5(code)}, {"models/sft": model + ".dir"}, params),
            stage("predict@base", {"models/base": md5("base")}, {"data/predictions/base.parquet": digests["base"]}, []),
            stage("predict@sft", {"models/sft": model + ".dir"}, {"data/predictions/sft.parquet": digests["sft"]}, []),
            stage(
                "evaluate",
                {"data/predictions": md5(digests["base"] + digests["sft"]) + ".dir"},
                {
                    "metrics/quality.json": quality_md5,
                    "metrics/fairness.json": md5(str(texts["metrics/fairness.json"])),
                },
                [],
            ),
            stage("report", {"metrics/quality.json": quality_md5}, {"reports/report.html": quality_md5}, params),
        ]
        return "schema: '2.0'\nstages:\n" + "".join(stages)

    def commit(self, title: str, **changes: Any) -> str:
        """Commit `files(**changes)`."""
        return commit(self.root, title, self.files(**changes))

    def write(self, **changes: Any) -> None:
        """Leave `files(**changes)` in the work tree."""
        for name, text in self.files(**changes).items():
            (self.root / name).write_text(str(text))

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def compare(self, *names: str, tests: bool = True) -> View:
        return views.compare(repository.open_repository(self.root), names, tests=tests)

    def side(self, *names: str, tests: bool = True) -> Side:
        """The one revision beside the baseline."""
        (found,) = self.compare(*names, tests=tests).sides
        return found


def stage(name: str, deps: dict[str, str], outs: dict[str, str], params: list[str]) -> str:
    lines = [f"  {name}:", f"    cmd: clew stage {name.replace('@', ' ')}", "    deps:", *artifacts(deps)]
    lines += ["    params:", "      params.yaml:", *params] if params else []
    return "\n".join([*lines, "    outs:", *artifacts(outs)]) + "\n"


def artifacts(paths: dict[str, str]) -> list[str]:
    return [
        f"    - path: {path}\n      hash: md5\n      md5: {digest}\n      size: 10" for path, digest in paths.items()
    ]


def fairness(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Statistical parity difference of "yes", she minus he, and a measure that cannot be had."""
    rates = {}
    for group in ("she", "he"):
        of = [row["prediction"] == "yes" for row in found if row["groups"]["pronoun"] == group]
        rates[group] = sum(of) / len(of)
    gap = rates["she"] - rates["he"]
    measures = {
        "statistical_parity_difference": {"value": gap, "low": gap - 0.1, "high": gap + 0.1},
        "average_odds_difference": {"value": None, "reason": "no false-positive rate"},
        "audit": AUDIT,
    }
    return {"stress": {"pronoun": measures}}


def number(side: Side, name: str, variant: str = "sft") -> Number:
    """A number by name."""
    return next(number for number in side.numbers if (number.name, number.variant) == (name, variant))
