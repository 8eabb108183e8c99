"""The sections of params.yaml that bring data and make rows of them: `fetch_data`, `fetch_model`, `prepare`."""

from __future__ import annotations

import csv
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from clew import missing_values, sources
from clew.answers import NO_LABEL
from clew.errors import SourceError
from clew.params_section import Count, Name, Positive, Regex, Section, Sha256, Share

CORRECT = "correct"
"""What audits call a right answer, whatever its label."""


def _uri(uri: str) -> str:
    try:
        sources.parse(uri, "")
    except SourceError as error:
        what = error.what.removeprefix(f"`{uri}` is ")  # the value itself is told at the end of the line
        raise ValueError(f"{what}. {error.fix.removesuffix('.')}") from None
    return uri


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError as error:
        raise ValueError(f"no encoding of text ({error})") from None
    return name


def _delimiter(sign: str) -> str:
    try:
        csv.reader([], delimiter=sign)
    except (TypeError, ValueError) as error:
        raise ValueError(f"no delimiter ({error})") from None
    if sign in '"\r\n':
        raise ValueError("no delimiter: quotes and line ends have their own meaning")
    return sign


Template = Annotated[str, Field(description="a Jinja template over the record's columns, sandboxed")]


class Source(Section):
    """Where files come from, and what they must be."""

    uri: Annotated[str, AfterValidator(_uri)]
    """package://NAME==VERSION/MEMBER, hf://OWNER/NAME@REVISION[/FILE], https://…, or file:PATH."""
    sha256: Sha256
    """Of the file; of several, of their listing as `sha256sum` prints it, sorted by path."""
    license: str
    """SPDX identifier of the licence, or a few words."""


class FetchData(Section):
    """Raw files, brought to data/raw/<name>/."""

    sources: dict[Name, Source]


class RandomInit(Section):
    """Fresh random weights of a smaller shape instead of the source's: for tests, or to train from nothing."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count


class FetchModel(Source):
    """The base model, brought to models/base/ as safetensors, tokenizer and chat template."""

    dtype: Literal["float32", "bfloat16"]
    """What the weights are stored as; GGUF files are dequantised to it."""
    random_init: RandomInit | None


class CsvFormat(Section):
    """CSV that is not UTF-8 with commas: `{kind: csv, encoding: cp1252, delimiter: ";"}`."""

    kind: Literal["csv"]
    encoding: Annotated[str, AfterValidator(_encoding)]
    """As Python names it: cp1252, latin-1, utf-16, shift_jis …"""
    delimiter: Annotated[str, AfterValidator(_delimiter)]
    """One character; a tab is "\\t"."""


class Constant(Section):
    """Fill with this."""

    constant: str


class MissingColumn(Section):
    """What happens to a record in which a column is empty, or not of its type."""

    type: Literal["number", "date", "category"]
    """A date is YYYY-MM-DD, with a time after it or not; a category is any text."""
    action: Literal["drop", "fail", "most_frequent", "median", "mean"] | Constant
    """drop the record, fail the stage, or fill: with the most frequent value of the task's records, the median or mean
    of its numbers, or {constant: …}."""

    @model_validator(mode="after")
    def _fits(self) -> MissingColumn:
        if self.action in ("median", "mean") and self.type != "number":
            raise ValueError(f"`{self.action}` is of numbers; a {self.type} has a most_frequent value")
        if isinstance(self.action, Constant) and (why := missing_values.lacking(self.action.constant, self.type)):
            raise ValueError(f"the constant {self.action.constant!r} is {why}")
        return self


class Mapping(Section):
    """How the records of one source become rows; the columns are named by the templates."""

    source: Name
    """A name under fetch_data.sources."""
    files: str
    """Glob below data/raw/<source>/."""
    format: Literal["csv", "jsonl", "parquet", "conll"] | CsvFormat
    """csv: UTF-8 with commas. conll: a word a line, its tag in the last column, a blank line after each sentence; the
    columns are called `tokens` and `tags`."""
    missing: dict[str, MissingColumn]
    """column: what happens where it is empty; columns that are not named here are empty text."""
    system: Template | None
    """System message, or null for none."""
    prompt: Template
    """User message."""
    text: Template
    """What the row is about: duplicates and leakage between splits are judged by it."""
    groups: dict[Name, dict[str, Regex]]
    """attribute: {value: pattern}: a row has the value whose pattern alone is found in its text, else none."""


def _answer(word: str) -> str:
    if word == CORRECT:
        raise ValueError("audits say `correct` for a right answer; take another word")
    return word


Answer = Annotated[str, AfterValidator(_answer)]


class LabelMapping(Mapping):
    """Classification: the answer is one of a few fixed words."""

    kind: Literal["label"]
    label: Template | None
    """null: what most annotators say."""
    annotations: Template | None
    """Where several people labelled a record: JSON, a list of their labels or {annotator: label}. null: one label."""
    values: dict[str, Answer]
    """What the label column holds: the word to answer."""
    rejected: bool
    """Whether to add another label as the rejected answer (for preference training on label pairs)."""

    @model_validator(mode="after")
    def _has_labels(self) -> LabelMapping:
        if self.label is None and self.annotations is None:
            raise ValueError("label and annotations are both null: where do the labels stand?")
        return self


def _one_of_several(word: str) -> str:
    if "," in word or word != word.strip() or word == NO_LABEL:
        raise ValueError(f"a row's labels are joined by commas, and `{NO_LABEL}` means none; take another word")
    return word


class LabelsMapping(Mapping):
    """Classification with any number of labels a row: the answer names them in declared order, parted by commas."""

    kind: Literal["labels"]
    labels: str
    """The column of labels: a list, JSON of one, or text that is split at white space."""
    values: dict[str, Annotated[Answer, AfterValidator(_one_of_several)]]
    """What stands in the list: the word to answer."""


class OptionsMapping(Mapping):
    """Multiple choice: the answer is the letter of one of the record's own options."""

    kind: Literal["options"]
    options: Template
    """One option a line. `prompt` sees them as `options`, one `A. text` a line."""
    strip: Regex
    """What to take off the front of each option and of the answer, such as `[A-E]\\. `."""
    answer: Template
    """The text of the right option."""
    shuffle: bool
    """Shuffle the options, fixed by the row: keys often lean to one letter."""
    rejected: bool
    """Whether to add a distractor's letter as the rejected answer."""


class Wanted(Section):
    """Which answers people wanted: thumbs up and down, a record an answer."""

    thumb: Template
    """What was said of the answer."""
    values: Annotated[dict[str, bool], Field(min_length=1)]
    """What `thumb` may say: whether the answer is wanted. A JSON true is "True"."""


class TextMapping(Mapping):
    """Free text: the answer is written, not chosen."""

    kind: Literal["text"]
    completion: Template
    """The answer."""
    rejected: Template | None
    """The answer that was not preferred, for preference training; null for none."""
    wanted: Wanted | None
    """Which records hold an answer that was not wanted: it is never imitated, and `align` by kto learns to avoid it.
    null: all are wanted."""

    @model_validator(mode="after")
    def _one_answer(self) -> TextMapping:
        if self.wanted is not None and self.rejected is not None:
            raise ValueError("`wanted` says on which side a record's one answer is; set rejected: null")
        return self


class RatingsMapping(Mapping):
    """Answers that people rated, a record a rating: the best answer to a prompt against the worst is a preference pair.

    The records of a prompt stand one after another. Answers are compared by the mean of their raters.
    """

    kind: Literal["ratings"]
    response: Template
    """The answer that was rated."""
    rater: Template | None
    """Who rated it; null where that is not known, and each rating is another's."""
    rating: Template
    """A number; more is better."""
    min_gap: Positive
    """Of the best mean over the worst: prompts with less make no pair, ties among them."""
    min_raters: Count
    """Answers that fewer people rated are left out."""


class TagsMapping(Mapping):
    """Tagged words, such as named entities: the answer lists what is tagged, one entity a line."""

    kind: Literal["tags"]
    tokens: str
    """The column of words: a list, JSON of one, or text that is split at white space."""
    tags: str
    """The column of their tags, in the same form: BIO, BIOES, BILOU or bare types, `O` outside."""
    names: tuple[str, ...] | None
    """Of the tags where they are numbers, counted from 0; null where they are words."""
    entity: Template
    """A line of the answer, from `type` and `text`: `{{ type }}: {{ text }}`."""
    nothing: str
    """The answer where nothing is tagged."""


class Prepare(Section):
    """Records become rows."""

    row_key: Annotated[str, Field(pattern=r"^(public|[0-9a-f]{16})$")]
    """`public`, or the fingerprint of a secret key made by `clew rows key` (for data that must not be guessed)."""
    max_unfit: Share
    """Fail when more than this share of a source's records do not fit the mapping."""
    tasks: dict[
        Name,
        Annotated[
            LabelMapping | LabelsMapping | OptionsMapping | TextMapping | RatingsMapping | TagsMapping,
            Field(discriminator="kind"),
        ],
    ]

    @model_validator(mode="after")
    def _not_model(self) -> Prepare:
        if "model" in self.tasks:
            raise ValueError("a task cannot be called `model`: metrics/quality.json keeps a model's size there")
        return self
