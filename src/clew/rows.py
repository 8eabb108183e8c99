"""One row: the schema that every stage reads and writes, and a row's identity.

    {"row_id": "5f0c…", "source": "dreaddit", "origin": {"file": "dreaddit_training.csv", "record": 17},
     "task": "stress", "messages": [{"role": "user", "content": "Post: … Stressed?"}], "text": "…",
     "completion": "yes", "label": "yes", "choices": ["yes", "no"], "rejected": "no",
     "groups": {"pronoun": "she"}, "annotations": None, "tokens": None, "tags": None, "labels": None,
     "options": None, "cluster": None, "weight": 1.0, "parent_ids": []}

`record` counts from 0 within the file. Empty columns are null. `text` is what the row is about (the post, the
question): duplicates and leakage are judged by it. `messages` is the prompt; `completion` is the answer to
learn; `label` is null for free text; `choices` are the completions that are scored against each other, or, where
`labels` is not null, the labels of which a row may have any number. Where an answer was not wanted (a thumb down),
`completion` is null and `rejected` is the answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from clew import io

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("source", pa.string()),
        ("origin", pa.struct([("file", pa.string()), ("record", pa.int64())])),
        ("task", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("text", pa.string()),
        ("completion", pa.string()),
        ("label", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("rejected", pa.string()),
        ("groups", pa.map_(pa.string(), pa.string())),
        ("annotations", pa.list_(pa.struct([("annotator", pa.string()), ("label", pa.string())]))),
        ("tokens", pa.list_(pa.string())),  # of a task of kind `tags`: the words …
        ("tags", pa.list_(pa.string())),  # … and the tag of each
        ("labels", pa.list_(pa.string())),  # of a task of kind `labels`: those that the source gave
        ("options", pa.list_(pa.string())),  # of a task of kind `options`: what stands after the letters A, B, …
        ("cluster", pa.string()),  # the row_id of the first row of a cluster of near duplicates; null outside of one
        ("weight", pa.float64()),
        ("parent_ids", pa.list_(pa.string())),
    ]
)

PREDICTION_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("source", pa.string()),
        ("task", pa.string()),
        ("label", pa.string()),  # the right choice; null for free text
        ("reference", pa.string()),  # the completion that was wanted
        ("choices", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float64())),  # log-likelihood of each choice, in nats; null for free text
        ("prediction", pa.string()),  # the likeliest choice, or the generated text
        ("logprob", pa.float64()),  # sum of the reference's token log-probabilities, end of turn included
        ("tokens", pa.int64()),  # the number of those tokens
        ("groups", pa.map_(pa.string(), pa.string())),
        ("labels", pa.list_(pa.string())),  # of a task of kind `labels`: the right ones …
        ("tags", pa.list_(pa.string())),  # … of kind `tags`: the right tag of each word …
        ("predicted", pa.list_(pa.string())),  # … and what was predicted in their place
    ]
)
PREDICTION_SCHEMA_1 = pa.schema([PREDICTION_SCHEMA.field(name) for name in PREDICTION_SCHEMA.names[:11]])
"""What it was before there were encoders: the history holds such predictions."""

CONTENT = ("task", "messages", "text", "completion", "label", "choices", "rejected")
"""The columns that make a row what it is; where it came from and how it is weighted do not."""


def row_id(content: Mapping[str, Any], key: bytes) -> str:
    """Keyed BLAKE2b-256 of "row-v1" and the canonical JSON (RFC 8785) of the NFC-normalised content.

    The same content has the same id wherever it stands; without `key` a short row cannot be guessed from its id.
    Returns 64 hex digits.
    """
    import rfc8785

    canonical = rfc8785.dumps(_nfc(dict(content)))
    return hashlib.blake2b(b"row-v1" + canonical, key=key, digest_size=32).hexdigest()


def scored(row: Mapping[str, Any]) -> list[str] | None:
    """The completions of a row that are scored against each other; None where the answer is written."""
    return None if row.get("labels") is not None else row["choices"]


def is_unwanted(row: Mapping[str, Any]) -> bool:
    """Whether a row holds an answer that was not wanted, and no other."""
    return row["completion"] is None and row["rejected"] is not None


def unwanted(some: pa.Table | pa.RecordBatch) -> NDArray[np.bool_]:
    """(n,) the same of rows in columns (completion, rejected)."""
    found: NDArray[np.bool_] = pc.and_(some["completion"].is_null(), some["rejected"].is_valid()).to_numpy(
        zero_copy_only=False
    )
    return found


def classes(path: Path, some: pa.Table) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Rows of `path` (columns task, label among others) with what stands for a label where people judged answers.

    In a task with answers that were not wanted that is `wanted` or `unwanted`. Also (n,) which rows are unwanted.
    """
    parts = io.open_parquet(path, SCHEMA).iter_batches(io.ROW_GROUP, columns=["completion", "rejected"])
    found = pa.array([one for batch in parts for one in unwanted(batch).tolist()], pa.bool_())
    tasks = pc.unique(some["task"].filter(found))
    verdicts = pc.if_else(found, "unwanted", "wanted")
    labels = pc.if_else(pc.is_in(some["task"], value_set=tasks), verdicts, some["label"])
    place = some.schema.get_field_index("label")
    return some.set_column(place, "label", labels), found.to_numpy(zero_copy_only=False)


_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def content_id(row: Mapping[str, Any], key: bytes) -> str:
    """The row_id of a row's CONTENT, in a tenth of the time.

    Content holds texts, lists of them and None only, under keys of ASCII: for these `json` writes RFC 8785. Parts of a
    text in NFC are in NFC.
    """
    content = {name: row[name] for name in CONTENT}
    canonical = _JSON.encode(content)
    if not unicodedata.is_normalized("NFC", canonical):
        canonical = _JSON.encode(_nfc(content))
    return hashlib.blake2b(b"row-v1" + canonical.encode(), key=key, digest_size=32).hexdigest()


def _nfc(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {_nfc(str(key)): _nfc(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nfc(item) for item in value]
    return value


_PUNCTUATION = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs"}
"""Categories of Unicode that do not count: punctuation, white space, what is not seen."""

_SIGN = re.compile(r"[^\w\s]|_")
_WITHIN = re.compile(
    r"(?<=\d)[.,:/*–-](?=\d)"  # 1.5, 10-12, 3/4
    r"|(?<![^\W_])-(?=[$£€¥]?\.?\d)|(?<![^\W_])(?<!\.)\.(?=\d)"  # -5, -$5, .5
    r"|[%‰]|(?<=[^\W_])\#"  # 5 %, C#
)
"""Punctuation that is part of a number or a name."""
UNSPACED = (
    "\u0e00-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Signs of scripts without spaces between words (Thai, Lao, Tibetan, Burmese, Khmer, kana, Han), as ranges between the
brackets of a regular expression: wherever words are told apart, each is one."""


def question(text: str, options: Sequence[str]) -> str | None:
    """The text without the lines at its end that hold its options, in any order; None where it does not end with them.

    >>> question("Which vitamin?\\n(1) C\\n(2) K", ["K", "C"])
    'Which vitamin?'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) <= len(options):
        return None
    if all(any(line.endswith(option) for option in options if option) for line in lines[-len(options) :]):
        return "\n".join(lines[: -len(options)])
    return None


def normalise(text: str) -> str:
    """Text as duplicates are judged: NFKC and lower case; punctuation and white space as one space.

    Letters, digits, marks (the vowel signs of Hindi) and symbols (`+`, `€`, emoji) count, and punctuation does where
    it is part of a number. A text of punctuation only stands for itself.

    >>> normalise("  It’s\\tFINE! ")
    'it s fine'
    >>> normalise("At -1.5 € (or so)?")
    'at -1.5 € or so'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return " ".join(_SIGN.sub(_counted, folded).split()) or text.strip()


def _counted(found: re.Match[str]) -> str:
    sign = found[0]
    if unicodedata.category(sign) in _PUNCTUATION and not _WITHIN.match(found.string, found.start()):
        return " "
    return sign


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as columns; what a row does not hold is null."""
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def read(path: Path) -> list[dict[str, Any]]:
    """Read rows and check their schema."""
    return io.read_parquet(path, SCHEMA)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows in their schema."""
    io.write_parquet(path, rows, SCHEMA)
