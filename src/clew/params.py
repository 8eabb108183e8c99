"""The one door for parameters: params.yaml → frozen models, every error at once.

    $ clew params check
    params.yaml:88: sft.learning_rte: unknown name. Did you mean `learning_rate`?

A class here is a section of params.yaml and, in snake case, a stage: `Sft` is `sft:` is `stages/sft.py`. There
are no defaults: DVC cannot see a value that lives in Python, so a model would change without its lock changing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from clew import params_checks, params_file
from clew.errors import ParamsError
from clew.params_augment import Augment as Augment
from clew.params_clean import Clean as Clean
from clew.params_data import Constant as Constant
from clew.params_data import CsvFormat as CsvFormat
from clew.params_data import FetchData as FetchData
from clew.params_data import FetchModel as FetchModel
from clew.params_data import LabelMapping as LabelMapping
from clew.params_data import LabelsMapping as LabelsMapping
from clew.params_data import Mapping as Mapping
from clew.params_data import MissingColumn as MissingColumn
from clew.params_data import OptionsMapping as OptionsMapping
from clew.params_data import Prepare as Prepare
from clew.params_data import RandomInit as RandomInit
from clew.params_data import RatingsMapping as RatingsMapping
from clew.params_data import Source as Source
from clew.params_data import TagsMapping as TagsMapping
from clew.params_data import TextMapping as TextMapping
from clew.params_section import Count, Name, Section, Share
from clew.params_select import Select as Select
from clew.params_training import Align as Align
from clew.params_training import Divergence as Divergence
from clew.params_training import Model as Model
from clew.params_training import Optimisation as Optimisation
from clew.params_training import Precision as Precision
from clew.params_training import Reward as Reward
from clew.params_training import Sft as Sft

FILE = Path("params.yaml")


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
