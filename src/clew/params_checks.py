"""What one section of params.yaml says about another: found at the door, not after hours of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from clew import params_checks_training
from clew.params_data import CORRECT
from clew.params_problem import Check, Path, Problem, is_within, unknown

if TYPE_CHECKING:
    from clew.params import Audit, Params
    from clew.params_clean import Features


class NotKnown(Exception):  # noqa: N818 - no error: what is wrong with that section is told already
    """A check wants a section that is wrong by itself."""


class Known:
    """As much of the params as is right by itself, for checks that need no more."""

    def __init__(self, sections: Mapping[str, Any]) -> None:
        self._sections = sections

    def __getattr__(self, name: str) -> Any:
        if name not in self._sections:
            raise NotKnown(name)
        return self._sections[name]


def problems(p: Params | Known) -> list[Problem]:
    """(path in params.yaml, what is wrong) of every contradiction between sections."""
    found: list[Problem] = []
    for check in CHECKS:
        with suppress(NotKnown):
            found += check(cast("Params", p))
    return found


def _sources(p: Params) -> Iterator[Problem]:
    for task, mapping in p.prepare.tasks.items():
        yield from unknown(("prepare", "tasks", task, "source"), mapping.source, sorted(p.fetch_data.sources))


def _clean_tasks(p: Params) -> Iterator[Problem]:
    """Tasks that a cleaning rule names: declared, each once, and of a kind that the rule can judge."""
    wanted = {
        "mismatch": ("text", "no written answers"),
        "annotators": ("label", "no labels that people gave"),
        "label_noise": ("label", "no labels to doubt"),
        "token_labels": ("tags", "no tagged words"),
        "preferences": ("text", "no written answers to choose from"),
    }
    needed = {"annotators": "annotations", "preferences": "rejected"}
    for name in type(p.clean).model_fields:
        tasks: Sequence[str] = getattr(getattr(p.clean, name), "tasks", ())
        kind, lack = wanted.get(name, (None, ""))
        for index, task in enumerate(tasks):
            path: Path = ("clean", name, "tasks", index)
            yield from unknown(path, task, sorted(p.prepare.tasks))
            if task in tasks[:index]:
                yield path, f"`{task}` stands there twice"
            of_task = p.prepare.tasks[task].kind if task in p.prepare.tasks else None
            written = (kind, of_task) == ("text", "ratings")  # pairs of written answers
            if kind and of_task and of_task != kind and not written:
                yield path, f"`{task}` has {lack}: its kind is not `{kind}`"
            elif name in needed and getattr(p.prepare.tasks.get(task), needed[name], "") is None:
                yield path, f"`{task}` has none to judge: prepare.tasks.{task}.{needed[name]} is null"


def _features(features_of: Callable[[Params], Features | None], *path: str) -> Check:
    """A check that embeddings come from a source that is declared, and from within it."""

    def check(p: Params) -> Iterator[Problem]:
        features = features_of(p)
        if features and features.kind != "tfidf":
            yield from unknown((*path, "source"), features.source, sorted(p.fetch_data.sources))
        if features and features.kind == "given" and not is_within(features.file):
            yield (*path, "file"), f"`{features.file}` is no file within data/raw/{features.source}/"

    return check


def _classifiers(p: Params) -> Iterator[Problem]:
    """Models that a cleaning rule asks come from sources that are declared."""
    for rule, param in (("personal_data", "recogniser"), ("toxicity", "classifier")):
        if source := getattr(getattr(p.clean, rule), param, None):
            yield from unknown(("clean", rule, param), source, sorted(p.fetch_data.sources))


def _objective(p: Params) -> Iterator[Problem]:
    if p.clean.relevance and not p.clean.objective:
        yield ("clean", "objective"), "is null, and clean.relevance judges by it: describe what the model is for"


def _limits(p: Params) -> Iterator[Problem]:
    for task in p.split.limits:
        yield from unknown(("split", "limits", task), task, sorted(p.prepare.tasks))


def _benchmarks(p: Params) -> Iterator[Problem]:
    for index, task in enumerate(p.split.contamination.benchmarks if p.split.contamination else ()):
        path: Path = ("split", "contamination", "benchmarks", index)
        yield from unknown(path, task, sorted(p.prepare.tasks))
        if task in p.prepare.tasks and (task not in p.split.limits or p.split.limits[task].train):
            yield path, f"`{task}` is trained on; set split.limits.{task}.train: 0"


def _select(p: Params) -> Iterator[Problem]:
    for task in p.select.keep:
        yield from unknown(("select", "keep", task), task, sorted(p.prepare.tasks))
    score = p.select.score
    if score and p.select.enabled:
        from clew.lineage.thresholds import THRESHOLDS

        measuring = {name.partition(".")[0]: None for name in THRESHOLDS}
        on = [name for name in measuring if getattr(p.clean, name)]
        if score.rule not in on:
            hint = f"it is off: set clean.{score.rule}" if score.rule in measuring else f"there are: {', '.join(on)}"
            yield ("select", "score", "rule"), f"no rule `{score.rule}` of clean measures rows; {hint}"


def _augment(p: Params) -> Iterator[Problem]:
    for task, declared in p.augment.tasks.items():
        path: Path = ("augment", "tasks", task)
        yield from unknown(path, task, sorted(p.prepare.tasks))
        kind = p.prepare.tasks[task].kind if task in p.prepare.tasks else None
        if declared.synonyms:
            of = ("synonyms", "source")
            yield from unknown((*path, *of), declared.synonyms.source, sorted(p.fetch_data.sources))
            if not is_within(declared.synonyms.file):
                yield (*path, "synonyms", "file"), f"`{declared.synonyms.file}` is no file within its source"
        for method in ("synonyms", "typos"):
            if kind == "tags" and getattr(declared, method):
                yield (*path, method), f"`{task}` is of kind `tags`: its tags would stand beside other words"
        if declared.upsample and declared.upsample.by == "label" and kind in ("text", "tags", "ratings"):
            yield (*path, "upsample", "by"), f"`{task}` has no labels: its kind is `{kind}`"
        for index, template in enumerate(declared.prompts.templates if declared.prompts else ()):
            for problem in _lacking(template, kind):
                yield (*path, "prompts", "templates", index), problem


def _lacking(template: str, kind: str | None) -> Iterator[str]:
    """What a template of another prompt lacks. Of multiple choice, `text` has the options as they came."""
    import jinja2

    from clew.errors import DataError
    from clew.mapping import Unfit, renderer

    names = ("prompt",) if kind == "options" else ("prompt", "text")
    try:
        one, other = (renderer()(template, dict.fromkeys(names, value)) for value in ("one row", "ANOTHER, quite"))
        if one == other:
            yield f"says the same of every row; put in {' or '.join(f'{{{{ {name} }}}}' for name in names)}"
    except jinja2.TemplateSyntaxError as error:
        yield f"not a template: {str(error.message).rstrip('.')}"
    except DataError as error:
        yield error.what
    except Unfit as error:
        yield f"cannot be written ({error.detail}); it may use {' and '.join(names)}"


def _variants(p: Params) -> Iterator[Problem]:
    made = ["base", "sft", "aligned", *p.compress.methods]
    for index, variant in enumerate(p.predict.variants):
        yield from unknown(("predict", "variants", index), variant, made)
    if not p.predict.variants:
        yield ("predict", "variants"), "is empty: nothing would be measured"


def _shares(p: Params) -> Iterator[Problem]:
    if p.split.valid_share + p.split.test_share >= 1:
        yield ("split", "valid_share"), "valid_share and test_share leave nothing to train on"


def _length(p: Params) -> Iterator[Problem]:
    if p.clean.length and p.clean.length.min_words > p.clean.length.max_words:
        yield ("clean", "length", "min_words"), "is more than max_words: no row would be left"


def _twice(names: Callable[[Params], Sequence[str]], *path: str) -> Check:
    """A check that a list names nothing twice."""

    def check(p: Params) -> Iterator[Problem]:
        found = names(p)
        for index, name in enumerate(found):
            if name in found[:index]:
                yield (*path, index), f"`{name}` stands there twice"

    return check


def _tasks(p: Params) -> Iterator[Problem]:
    """Mappings: files that stay within their source, templates that compile, two labels to tell apart."""
    import jinja2

    from clew.errors import DataError
    from clew.mapping import Unfit, renderer, templates

    render = renderer()
    for task, mapping in p.prepare.tasks.items():
        path: Path = ("prepare", "tasks", task)
        if not is_within(mapping.files):
            yield (*path, "files"), f"`{mapping.files}` is no glob within data/raw/{mapping.source}/"
        if mapping.kind == "label" and len(set(mapping.values.values())) < 2:
            yield (*path, "values"), "holds fewer than two labels to tell apart"
        if mapping.kind == "labels" and not mapping.values:
            yield (*path, "values"), "holds no label"
        entity = [(("entity",), mapping.entity)] if mapping.kind == "tags" else []
        for key, template in [*templates(mapping), *entity]:
            try:
                render(template, {})
            except jinja2.TemplateSyntaxError as error:
                yield (*path, *key), f"not a template: {str(error.message).rstrip('.')}"
            except DataError as error:
                yield (*path, *key), error.what
            except Unfit:
                continue  # it wants columns, which are known when the source is read


def _audits(section: str, audits_of: Callable[[Params], Sequence[Audit]]) -> Check:
    """A check that audits name tasks, attributes, groups and labels as the tasks' mappings declare them."""

    def check(p: Params) -> Iterator[Problem]:
        for index, audit in enumerate(audits_of(p)):
            path: Path = (section, "audits", index)
            yield from unknown((*path, "task"), audit.task, sorted(p.prepare.tasks))
            if audit.task not in p.prepare.tasks:
                continue
            groups = p.prepare.tasks[audit.task].groups
            yield from unknown((*path, "attribute"), audit.attribute, sorted(groups))
            if audit.attribute in groups:
                values = list(groups[audit.attribute])
                yield from unknown((*path, "privileged"), audit.privileged, values)
                yield from unknown((*path, "unprivileged"), audit.unprivileged, values)
            if section == "balance" and audit.favorable == CORRECT:
                yield (*path, "favorable"), "`correct` is about predictions; name a label, or audit in fairness only"
            else:
                yield from unknown((*path, "favorable"), audit.favorable, _labels(p, audit))

    return check


def _labels(p: Params, audit: Audit) -> list[str]:
    mapping: Any = p.prepare.tasks[audit.task]
    if mapping.kind == "label":
        return [*dict.fromkeys(mapping.values.values()), CORRECT]
    return [CORRECT] if mapping.kind in ("options", "labels") else []


CHECKS: tuple[Check, ...] = (
    _sources,
    _clean_tasks,
    _features(lambda p: p.clean.features, "clean", "features"),
    _features(lambda p: p.select.diversity.features if p.select.diversity else None, "select", "diversity", "features"),
    _classifiers,
    _objective,
    _limits,
    _benchmarks,
    _select,
    _augment,
    _variants,
    _shares,
    _length,
    _twice(lambda p: p.reward.tasks, "reward", "tasks"),
    _twice(lambda p: p.align.tasks, "align", "tasks"),
    _twice(lambda p: p.compress.methods, "compress", "methods"),
    _twice(lambda p: p.predict.variants, "predict", "variants"),
    _tasks,
    _audits("balance", lambda p: p.balance.audits),
    _audits("fairness", lambda p: p.fairness.audits),
    *params_checks_training.CHECKS,
)
