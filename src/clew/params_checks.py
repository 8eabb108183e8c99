"""What one section of params.yaml says about another: found at the door, not after hours of training."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clew.params import Audit, Params

Path = tuple[str | int, ...]
Problem = tuple[Path, str]
CORRECT = "correct"


def problems(p: Params) -> list[Problem]:
    """(path in params.yaml, what is wrong) of every contradiction between sections."""
    found = [*_names(p), *_twice(p), *_tasks(p)]
    known = [problem for problem in found if "is not declared" in problem[1]]
    if not known:  # the rest looks names up
        found += [*_audits(p), *_align(p), *_label_noise(p)]
    if not p.predict.variants:
        found.append((("predict", "variants"), "is empty: nothing would be measured"))
    if p.split.valid_share + p.split.test_share >= 1:
        found.append((("split", "valid_share"), "valid_share and test_share leave nothing to train on"))
    if p.clean.length.min_words > p.clean.length.max_words:
        found.append((("clean", "length", "min_words"), "is more than max_words: no row would be left"))
    return found


def _unknown(path: Path, name: str, valid: Sequence[str]) -> Iterator[Problem]:
    if name in valid:
        return
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(valid) or 'none'}"
    yield path, f"`{name}` is not declared; {hint}"


def _names(p: Params) -> Iterator[Problem]:
    """Names of sources, tasks and variants that are declared elsewhere."""
    tasks, sources = sorted(p.prepare.tasks), sorted(p.fetch_data.sources)
    for task, mapping in p.prepare.tasks.items():
        yield from _unknown(("prepare", "tasks", task, "source"), mapping.source, sources)
    for index, task in enumerate(p.clean.label_noise.tasks):
        yield from _unknown(("clean", "label_noise", "tasks", index), task, tasks)
    for task in p.split.limits:
        yield from _unknown(("split", "limits", task), task, tasks)
    for index, task in enumerate(p.align.tasks):
        yield from _unknown(("align", "tasks", index), task, tasks)
    for section, audits in (("balance", p.balance.audits), ("fairness", p.fairness.audits)):
        for index, audit in enumerate(audits):
            yield from _unknown((section, "audits", index, "task"), audit.task, tasks)
    made = ["base", "sft", "aligned", *p.compress.methods]
    for index, variant in enumerate(p.predict.variants):
        yield from _unknown(("predict", "variants", index), variant, made)


def _twice(p: Params) -> Iterator[Problem]:
    lists: tuple[tuple[Path, Sequence[str]], ...] = (
        (("clean", "label_noise", "tasks"), p.clean.label_noise.tasks),
        (("align", "tasks"), p.align.tasks),
        (("compress", "methods"), p.compress.methods),
        (("predict", "variants"), p.predict.variants),
    )
    for path, names in lists:
        for index, name in enumerate(names):
            if name in names[:index]:
                yield (*path, index), f"`{name}` stands there twice"


def _tasks(p: Params) -> Iterator[Problem]:
    """Mappings: files that stay within their source, templates that compile, two labels to tell apart."""
    import jinja2

    from clew.errors import DataError
    from clew.mapping import Unfit, renderer

    render = renderer()
    for task, mapping in p.prepare.tasks.items():
        path: Path = ("prepare", "tasks", task)
        files = PurePosixPath(mapping.files)
        if not mapping.files or files.is_absolute() or ".." in files.parts:
            yield (*path, "files"), f"`{mapping.files}` is no glob within data/raw/{mapping.source}/"
        if mapping.kind == "label" and len(set(mapping.values.values())) < 2:
            yield (*path, "values"), "holds fewer than two labels to tell apart"
        for name in ("system", "prompt", "text", "label", "options", "answer", "completion"):
            template = getattr(mapping, name, None)
            try:
                render(template or "", {})
            except jinja2.TemplateSyntaxError as error:
                yield (*path, name), f"not a template: {str(error.message).rstrip('.')}"
            except (Unfit, DataError):
                continue  # it wants columns, which are known when the source is read


def _audits(p: Params) -> Iterator[Problem]:
    """Audits: attributes, groups and favourable labels as the task's mapping declares them."""
    for section, audits in (("balance", p.balance.audits), ("fairness", p.fairness.audits)):
        for index, audit in enumerate(audits):
            path: Path = (section, "audits", index)
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


def _labels(p: Params, audit: Audit) -> list[str]:
    mapping: Any = p.prepare.tasks[audit.task]
    if mapping.kind == "label":
        return [*dict.fromkeys(mapping.values.values()), CORRECT]
    return [CORRECT] if mapping.kind == "options" else []


def _align(p: Params) -> Iterator[Problem]:
    if not p.align.enabled:
        return
    if not p.align.tasks:
        yield ("align", "tasks"), "is empty; name a task whose rows have a rejected answer, or set align.enabled: false"
    for index, task in enumerate(p.align.tasks):
        if not getattr(p.prepare.tasks[task], "rejected", False):
            fix = f"set prepare.tasks.{task}.rejected: true, or take it out"
            yield ("align", "tasks", index), f"`{task}` has no rejected answers; {fix}"


def _label_noise(p: Params) -> Iterator[Problem]:
    for index, task in enumerate(p.clean.label_noise.tasks):
        if p.prepare.tasks[task].kind != "label":
            yield ("clean", "label_noise", "tasks", index), f"`{task}` has no labels to doubt: its kind is not `label`"
