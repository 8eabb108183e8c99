"""What one section of params.yaml says about another: found at the door, not after hours of training."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from clew.params_training import UNMERGEABLE, Optimisation

if TYPE_CHECKING:
    from clew.params import Audit, Params
    from clew.params_clean import Features

Path = tuple[str | int, ...]
Problem = tuple[Path, str]
Check = Callable[["Params"], Iterable[Problem]]
"""Each asks for the sections that it needs; one that is wrong by itself ends it."""
CORRECT = "correct"
ALGORITHMS = ("dpo", "kto", "rloo", "grpo")
LEAST_PROMPT = 16
"""Tokens of a prompt that must stay, as training.data.MIN_PROMPT."""


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


def _unknown(path: Path, name: str, valid: Sequence[str]) -> Iterator[Problem]:
    if name in valid:
        return
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(valid) or 'none'}"
    yield path, f"`{name}` is not declared; {hint}"


def _sources(p: Params) -> Iterator[Problem]:
    for task, mapping in p.prepare.tasks.items():
        yield from _unknown(("prepare", "tasks", task, "source"), mapping.source, sorted(p.fetch_data.sources))


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
            yield from _unknown(path, task, sorted(p.prepare.tasks))
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
            yield from _unknown((*path, "source"), features.source, sorted(p.fetch_data.sources))
        if features and features.kind == "given" and not _is_within(features.file):
            yield (*path, "file"), f"`{features.file}` is no file within data/raw/{features.source}/"

    return check


def _classifiers(p: Params) -> Iterator[Problem]:
    """Models that a cleaning rule asks come from sources that are declared."""
    for rule, param in (("personal_data", "recogniser"), ("toxicity", "classifier")):
        if source := getattr(getattr(p.clean, rule), param, None):
            yield from _unknown(("clean", rule, param), source, sorted(p.fetch_data.sources))


def _objective(p: Params) -> Iterator[Problem]:
    if p.clean.relevance and not p.clean.objective:
        yield ("clean", "objective"), "is null, and clean.relevance judges by it: describe what the model is for"


def _is_within(file: str) -> bool:
    """Whether a path or glob stays within its folder."""
    path = PurePosixPath(file)
    return bool(file) and not path.is_absolute() and ".." not in path.parts


def _limits(p: Params) -> Iterator[Problem]:
    for task in p.split.limits:
        yield from _unknown(("split", "limits", task), task, sorted(p.prepare.tasks))


def _benchmarks(p: Params) -> Iterator[Problem]:
    for index, task in enumerate(p.split.contamination.benchmarks if p.split.contamination else ()):
        path: Path = ("split", "contamination", "benchmarks", index)
        yield from _unknown(path, task, sorted(p.prepare.tasks))
        if task in p.prepare.tasks and (task not in p.split.limits or p.split.limits[task].train):
            yield path, f"`{task}` is trained on; set split.limits.{task}.train: 0"


def _select(p: Params) -> Iterator[Problem]:
    for task in p.select.keep:
        yield from _unknown(("select", "keep", task), task, sorted(p.prepare.tasks))
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
        yield from _unknown(path, task, sorted(p.prepare.tasks))
        kind = p.prepare.tasks[task].kind if task in p.prepare.tasks else None
        if declared.synonyms:
            of = ("synonyms", "source")
            yield from _unknown((*path, *of), declared.synonyms.source, sorted(p.fetch_data.sources))
            if not _is_within(declared.synonyms.file):
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
        yield from _unknown(("predict", "variants", index), variant, made)
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
    from clew.mapping import TEMPLATES, Unfit, renderer

    render = renderer()
    for task, mapping in p.prepare.tasks.items():
        path: Path = ("prepare", "tasks", task)
        if not _is_within(mapping.files):
            yield (*path, "files"), f"`{mapping.files}` is no glob within data/raw/{mapping.source}/"
        if mapping.kind == "label" and len(set(mapping.values.values())) < 2:
            yield (*path, "values"), "holds fewer than two labels to tell apart"
        if mapping.kind == "labels" and not mapping.values:
            yield (*path, "values"), "holds no label"
        for name in (*TEMPLATES, "entity"):
            template = getattr(mapping, name, None)
            try:
                render(template if isinstance(template, str) else "", {})
            except jinja2.TemplateSyntaxError as error:
                yield (*path, name), f"not a template: {str(error.message).rstrip('.')}"
            except DataError as error:
                yield (*path, name), error.what
            except Unfit:
                continue  # it wants columns, which are known when the source is read


def _audits(section: str, audits_of: Callable[[Params], Sequence[Audit]]) -> Check:
    """A check that audits name tasks, attributes, groups and labels as the tasks' mappings declare them."""

    def check(p: Params) -> Iterator[Problem]:
        for index, audit in enumerate(audits_of(p)):
            path: Path = (section, "audits", index)
            yield from _unknown((*path, "task"), audit.task, sorted(p.prepare.tasks))
            if audit.task not in p.prepare.tasks:
                continue
            groups = p.prepare.tasks[audit.task].groups
            yield from _unknown((*path, "attribute"), audit.attribute, sorted(groups))
            if audit.attribute in groups:
                values = list(groups[audit.attribute])
                yield from _unknown((*path, "privileged"), audit.privileged, values)
                yield from _unknown((*path, "unprivileged"), audit.unprivileged, values)
            if section == "balance" and audit.favorable == CORRECT:
                yield (*path, "favorable"), "`correct` is about predictions; name a label, or audit in fairness only"
            else:
                yield from _unknown((*path, "favorable"), audit.favorable, _labels(p, audit))

    return check


def _used(p: Params) -> dict[str, str]:
    """The kind of each task that has rows on any side."""
    limits = p.split.limits
    none = {task for task, sides in limits.items() if not (sides.train or sides.valid or sides.test)}
    return {task: mapping.kind for task, mapping in p.prepare.tasks.items() if task not in none}


LABELLED, TAGGED = ("label", "labels"), ("tags",)
"""Kinds of tasks that share an encoder's head."""


def _encoder_tasks(p: Params) -> Iterator[Problem]:
    """An encoder has one head: for labels or for tags, of tasks that it is trained on."""
    if p.model.kind != "encoder":
        return
    used = _used(p)
    for task, kind in used.items():
        if kind not in (*LABELLED, *TAGGED):
            yield (
                ("prepare", "tasks", task, "kind"),
                (f"an encoder learns labels or tags, not `{kind}`; take a decoder, or set split.limits.{task} to 0"),
            )
        elif kind in TAGGED and any(other in LABELLED for other in used.values()):
            yield ("prepare", "tasks", task, "kind"), "an encoder learns either tags or labels, and others are labels"
        elif task in p.split.limits and not p.split.limits[task].train:
            yield (
                ("split", "limits", task, "train"),
                ("an encoder cannot answer a task that it is not trained on; set valid and test to 0, too"),
            )


def _encoder_stages(p: Params) -> Iterator[Problem]:
    """What an encoder can do after its training."""
    if p.model.kind != "encoder":
        return
    if p.align.enabled:
        yield ("align", "enabled"), "preferences are between written answers, and an encoder writes none; set it false"
    if p.reward.enabled:
        yield ("reward", "enabled"), "preferences are between written answers, and an encoder writes none; set it false"
    if p.sft.method != "full":
        yield ("sft", "method"), "an encoder is trained in full; set it to full"
    if p.sft.packing != "none":
        yield ("sft", "packing"), "an encoder's rows are not packed: one would attend to another; set it to none"
    if "base" in p.predict.variants:
        path: Path = ("predict", "variants", p.predict.variants.index("base"))
        yield path, "`base` has no head yet, so an encoder's base says nothing; take it out"


def _labels(p: Params, audit: Audit) -> list[str]:
    mapping: Any = p.prepare.tasks[audit.task]
    if mapping.kind == "label":
        return [*dict.fromkeys(mapping.values.values()), CORRECT]
    return [CORRECT] if mapping.kind in ("options", "labels") else []


def _reward(p: Params) -> Iterator[Problem]:
    if p.reward.enabled and not p.reward.tasks:
        yield ("reward", "tasks"), "is empty; name a task whose rows have a rejected answer, or set enabled: false"
    yield from _paired(p, "reward", p.reward.tasks, needed=p.reward.enabled)
    if p.reward.enabled and (p.reward.method not in ("full", "lora", "ia3") or not p.reward.merge):
        yield ("reward", "method"), "a reward model is trained full, or by lora or ia3 with merge: true"
    if p.reward.enabled and not (p.sft.merge or p.sft.method == "full"):
        yield ("reward", "enabled"), "wants a whole model to start from: set sft.merge: true"


def _align(p: Params) -> Iterator[Problem]:
    if p.align.enabled and not p.align.tasks:
        yield ("align", "tasks"), "is empty; name a task whose rows have a rejected answer, or set align.enabled: false"
    if p.align.enabled and p.align.method in ("lora", "qlora") and p.align.lora and p.align.lora.dropout:
        yield ("align", "lora", "dropout"), "must be 0: TRL compares the policy with its reference without dropout"
    yield from _paired(p, "align", p.align.tasks, needed=p.align.enabled and p.align.algorithm == "dpo")


def _paired(p: Params, section: str, tasks: Sequence[str], *, needed: bool) -> Iterator[Problem]:
    """Tasks that are declared, and where it is needed have rejected answers."""
    for index, task in enumerate(tasks):
        path: Path = (section, "tasks", index)
        yield from _unknown(path, task, sorted(p.prepare.tasks))
        if needed and task in p.prepare.tasks and not _has_rejected(p.prepare.tasks[task]):
            yield path, f"`{task}` has no rejected answers; set prepare.tasks.{task}.rejected: true, or take it out"


def _adapters(p: Params) -> Iterator[Problem]:
    """What is made of a model whose adapter is not merged."""
    if p.align.enabled and p.sft.method in UNMERGEABLE and p.align.method != p.sft.method:
        yield ("align", "method"), f"sft leaves a {p.sft.method}, which align can only train on: set {p.sft.method}"
    if p.align.enabled and p.align.method in UNMERGEABLE and p.align.algorithm != "dpo":
        yield ("align", "method"), f"{p.align.method} is trained with algorithm: dpo only"
    if p.align.enabled and p.align.method == "qlora" and _beside(p.sft):
        yield ("align", "method"), "qlora wants sft's adapter merged before it quantises: set sft.merge: true"
    if p.reward.enabled and _beside(p.sft):
        yield ("sft", "merge"), "the reward model is made of a whole model: set it true, or reward.enabled: false"
    if p.reward.enabled and _beside(p.reward):
        yield ("reward", "merge"), "the reward model is written whole: set it true, and a method that can be merged"
    last = "align" if p.align.enabled else "sft"
    if p.compress.methods and _beside(getattr(p, last)):
        yield (
            ("compress", "methods"),
            f"{last} leaves its adapter beside the model, and only whole models are compressed",
        )


def _beside(section: Optimisation) -> bool:
    """Whether a section leaves its adapter beside the model."""
    return section.method != "full" and not section.merge


def _bitsandbytes(p: Params) -> Iterator[Problem]:
    from importlib import metadata

    try:
        metadata.version("bitsandbytes")
    except metadata.PackageNotFoundError:
        for name in _trained():
            for key, wants in (("method", ("qlora",)), ("optimizer", ("adamw_8bit", "paged_adamw_8bit"))):
                if (value := getattr(getattr(p, name), key)) in wants:
                    yield (name, key), f"{value} wants the package bitsandbytes, which is not installed"


def _trained() -> list[str]:
    """The names of the sections that train."""
    from clew.params import Params

    kinds = {name: field.annotation for name, field in Params.model_fields.items()}
    return [name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Optimisation)]


def _has_rejected(mapping: Any) -> bool:
    return mapping.kind == "ratings" or bool(getattr(mapping, "rejected", None))


def _algorithm(p: Params) -> Iterator[Problem]:
    """The algorithm's own section is set, and the others are not: what is set and does nothing would mislead."""
    for name in ALGORITHMS:
        is_set = getattr(p.align, name) is not None
        if is_set and name != p.align.algorithm:
            yield ("align", name), f"is set, and align.algorithm is `{p.align.algorithm}`: set one or the other"
        if not is_set and name == p.align.algorithm:
            yield ("align", name), f"is null, and align.algorithm is `{name}`: docs/training.md has an example"
    if p.align.enabled and p.align.algorithm != "dpo" and p.align.method in UNMERGEABLE:
        yield (
            ("align", "method"),
            f"{p.align.method} goes with dpo; take lora, or another method, for {p.align.algorithm}",
        )


def _kto(p: Params) -> Iterator[Problem]:
    if not p.align.enabled or p.align.algorithm != "kto":
        return
    tasks = [p.prepare.tasks[task] for task in p.align.tasks if task in p.prepare.tasks]
    if tasks and not any(map(_has_rejected, tasks)):
        yield (
            ("align", "tasks"),
            "none has rejected answers: KTO learns from wanted answers and from others",
        )
    if p.align.micro_batch_size == 1:
        yield ("align", "micro_batch_size"), "must be 2 or more: KTO compares an answer with those beside it"


def _online(p: Params) -> Iterator[Problem]:
    """What rloo and grpo need: whole groups of answers in a batch, room for a prompt, rewards that are there."""
    name = p.align.algorithm
    online = getattr(p.align, name)
    if not p.align.enabled or name not in ("rloo", "grpo") or online is None:
        return
    path: Path = ("align", name)
    if p.align.batch_size % online.generations:
        yield (*path, "generations"), f"{online.generations} does not divide align.batch_size {p.align.batch_size}"
    if p.align.max_length - online.max_new_tokens < LEAST_PROMPT:
        yield (*path, "max_new_tokens"), f"leaves no {LEAST_PROMPT} tokens of align.max_length for a prompt"
    for index, term in enumerate(online.rewards):
        where = (*path, "rewards", index)
        if term.kind == "model" and not p.reward.enabled:
            yield (*where, "kind"), "is `model`, and reward.enabled is false: there is no reward model"
        if term.kind == "file" and not (_is_within(term.file) and term.file.endswith(".py")):
            yield (*where, "file"), f"`{term.file}` is no .py file below rewards/"
    if p.align.divergence is not None:
        yield ("align", "divergence"), f"must be null: the loss of {name} does not fall while it learns"
    if not any(term.weight for term in online.rewards):
        yield (*path, "rewards"), "weigh 0 in all: nothing would be learnt"


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
    _reward,
    _align,
    _adapters,
    _bitsandbytes,
    _algorithm,
    _kto,
    _online,
    _encoder_tasks,
    _encoder_stages,
)
