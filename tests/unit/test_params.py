"""The one door for parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from clew import params
from clew.errors import ParamsError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text()


def _load(tmp_path: Path, text: str) -> params.Params:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    return params.load(file)


def _problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(ParamsError) as error:
        _load(tmp_path, text)
    return str(error.value)


def test_the_default_experiment_is_valid() -> None:
    p = params.load(ROOT / "params.yaml")
    assert p.sft.batch_size % p.sft.micro_batch_size == 0


def test_sections_are_frozen() -> None:
    p = params.load(ROOT / "params.yaml")
    with pytest.raises(ValueError, match="frozen"):
        p.sft.epochs = 3


def test_every_error_is_told_at_once_with_line_value_and_nearest_name(tmp_path: Path) -> None:
    text = TEXT.replace("patience:", "patients:").replace("reweigh: true", "reweigh: 3")
    text = text.replace("source: medqa\n", "source: medqb\n").replace("beta:", "beta2:")
    said = _problems(tmp_path, text)
    lines = text.splitlines()

    def line(start: str) -> int:
        return next(number for number, content in enumerate(lines, 1) if content.strip().startswith(start))

    assert f"params.yaml:{line('patients:')}: sft.patients: unknown name. Did you mean `patience`?" in said
    assert "sft.patience: missing" in said
    assert f"params.yaml:{line('reweigh:')}: balance.reweigh: input should be a valid boolean, not 3" in said
    assert f"params.yaml:{line('dpo:')}: align.dpo.beta2: unknown name. Did you mean `beta`?" in said


def test_what_right_sections_say_of_each_other_is_told_beside_what_is_wrong_by_itself(tmp_path: Path) -> None:
    text = TEXT.replace("reweigh: true", "reweigh: 3").replace("source: medqa\n", "source: medqb\n")
    text = text.replace("min_words: 5", "min_words: 5000").replace("task: vignettes", "task: vignetes")
    said = _problems(tmp_path, text.replace("attribute: pronoun", "attribute: pronuon"))
    assert "params.yaml has 5 problems" in said
    for problem in (
        "balance.reweigh: input should be a valid boolean",
        "`medqb` is not declared",
        "is more than max_words",
        "fairness.audits.1.task: `vignetes` is not declared",
        "fairness.audits.0.attribute: `pronuon` is not declared",
    ):
        assert problem in said


def test_names_of_other_sections_are_checked(tmp_path: Path) -> None:
    said = _problems(tmp_path, TEXT.replace("source: medqa\n", "source: medqb\n"))
    assert "prepare.tasks.vignettes.source: `medqb` is not declared; did you mean `medqa`?" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 13", "seed: thirteen", 'seed: input should be a valid integer, not "thirteen"'),
        ("seed: 13", "seed: 13.0", "seed: input should be a valid integer"),
        ("rejected:", "rejectd:", "prepare.tasks.stress.rejectd: unknown name. Did you mean `rejected`?"),
        ('label: "{{ label }}"', "lable: x", "prepare.tasks.stress.label: missing"),
        ("attribute: pronoun", "attribute: pronuon", "`pronuon` is not declared; did you mean `pronoun`?"),
        ("privileged: he,", "privileged: hee,", "`hee` is not declared; did you mean `he`?"),
        ('favorable: "yes"', 'favorable: "yess"', "`yess` is not declared; did you mean `yes`?"),
        ('favorable: "yes"', "favorable: correct", "`correct` is about predictions"),
        *[
            ("tasks: [stress, exam]\n  rows: 96\n  held_out", f"tasks: [{tasks}]\n  rows: 96\n  held_out", said)
            for tasks, said in [
                ("stress, dialogues", "align.tasks.1: `dialogues` has no rejected answers"),
                ("", "align.tasks: is empty; name a task whose rows have a rejected answer"),
                ("exam, exam", "align.tasks.1: `exam` stands there twice"),
            ]
        ],
        (
            "enabled: false\n  tasks: [stress, exam]",
            "enabled: true\n  tasks: [vignettes]",
            "reward.tasks.0: `vignettes` has",
        ),
        ("algorithm: dpo", "algorithm: ppo", "align.algorithm: input should be"),
        ("algorithm: dpo", "algorithm: grpo", "align.dpo: is set, and align.algorithm is `grpo`"),
        ("algorithm: dpo", "algorithm: grpo", "align.grpo: is null, and align.algorithm is `grpo`"),
        ("{loss: sigmoid, ", "{loss: robust, ", "`label_smoothing` goes with `loss: robust`"),
        ("tasks: [stress, abstracts]", "tasks: [exam]", "`exam` has no labels to doubt"),
        ("keep: {stress: 0.75}", "keep: {stres: 0.5}", "select.keep.stres: `stres` is not declared; did you mean"),
        ("keep: {stress: 0.75}", "keep: {stress: 1.5}", "neither a share of the rows (0.5, 1.0) nor a number of them"),
        *[
            ("synonyms: null", f"synonyms: {{source: {source}, file: {file}, rate: 0.1, copies: 1}}", said)
            for source, file, said in [
                ("dreadit", "a.tsv", "stress.synonyms.source: `dreadit` is not declared; did you mean `dreaddit`?"),
                ("dreaddit", "../a.tsv", "`../a.tsv` is no file within its source"),
            ]
        ],
        *[
            (f"{name}: null", f"{name}: {{tasks: [{task}], folds: 5, threshold: 0.5, {more}}}", said)
            for name, task, more, said in [
                ("annotators", "dialogues", "otherwise: review", "`dialogues` has no labels that people gave"),
                ("annotators", "stress", "otherwise: review", "prepare.tasks.stress.annotations is null"),
                ("token_labels", "stress", "min_accuracy: 0.9, otherwise: review", "`stress` has no tagged words"),
                ("preferences", "exam", "min_accuracy: 0.9, otherwise: review", "`exam` has no written answers to"),
                ("preferences", "dialogues", "min_accuracy: 0.9, otherwise: review", "dialogues.rejected is null"),
            ]
        ],
        *[
            ("features: {kind: tfidf, dimensions: 128}", f"features: {{{features}}}", said)
            for features, said in [
                ("kind: encoder, source: dreadit, batch_size: 8, max_length: 128", "did you mean `dreaddit`?"),
                (
                    "kind: given, source: dreaddit, file: ../v.parquet",
                    "`../v.parquet` is no file within data/raw/dread",
                ),
                ("kind: bert, source: dreaddit", "clean.features"),
            ]
        ],
        (
            "relevance: null",
            "relevance: {action: drop, tasks: [exam], threshold: 0.1}",
            "clean.objective: is null, and",
        ),
        ("mismatch: null", "mismatch: {action: drop, tasks: [exam], share: 0.1, threshold: 1.0}", "no written answers"),
        *[
            (
                "outliers: null",
                f"outliers: {{action: drop, near_duplicates: null, tasks: [{tasks}], neighbours: 9, threshold: {at}}}",
                said,
            )
            for tasks, at, said in [
                ("exam, exam", 0.37, "clean.outliers.tasks.1: `exam` stands there twice"),
                ("exams", 0.37, "`exams` is not declared; did you mean `exam`?"),
                ("exam", 2.0, "clean.outliers.threshold"),
            ]
        ],
        (
            "toxicity: null",
            "toxicity: {action: drop, classifier: dreadit, label: toxic, threshold: 0.5, batch_size: 8, max_length: 9}",
            "clean.toxicity.classifier: `dreadit` is not declared; did you mean `dreaddit`?",
        ),
        (
            "recogniser: null",
            "recogniser: dreadit",
            "clean.personal_data.recogniser: `dreadit` is not declared; did you mean `dreaddit`?",
        ),
        ("entities: [EMAIL_ADDRESS", "entities: [PERSON", "no form tells PERSON (but EMAIL_ADDRESS, "),
        ("variants: [base, sft, aligned, int8]", "variants: []", "nothing would be measured"),
        ("methods: [int8]", "methods: []", "predict.variants.3: `int8` is not declared"),
        ("benchmarks: [vignettes]", "benchmarks: [vignetes]", "split.contamination.benchmarks.0: `vignetes` is not"),
        ("benchmarks: [vignettes]", "benchmarks: [exam]", "`exam` is trained on; set split.limits.exam.train: 0"),
        ("min_words: 5", "min_words: 5000", "is more than max_words"),
        ('values: {"1": "yes", "0": "no"}', 'values: {"1": "yes"}', "fewer than two labels"),
        ('files: "*.csv"', "files: ../../x.csv", "is no glob within data/raw/dreaddit/"),
        ('files: "*.csv"', "files: /etc/*.csv", "is no glob within"),
        ('text: "{{ text }}"', 'text: "{{ text "', "prepare.tasks.stress.text: not a template: "),
        ('text: "{{ text }}"', 'text: "{{ text | lowr }}"', "No filter named 'lowr'"),
        ("learning_rate: 1.0e-3", "learning_rate: .inf", "sft.learning_rate"),
        ("seed: 13", "seed: 13\0", "not valid YAML"),
        ("seed: 13", "seeed: 13", "seeed: unknown name. Did you mean `seed`?"),
        ("kind: text", "kind: txt", "'txt'"),
        (
            "docs/training.md\n  method: lora\n  lora:\n    rank: 8\n    alpha: 16\n    dropout: 0.0",
            "docs/training.md\n  method: lora\n  lora:\n    rank: 8\n    alpha: 16\n    dropout: 0.1",
            "align.lora.dropout: must be 0",
        ),
        ("kind: text", "kidn: text", "prepare.tasks.dialogues: `kind` is missing; is it `kidn`?"),
        ('"0": "no"}', '"0": "correct"}', "audits say `correct` for a right answer"),
        ("seed: 13", "seed: " + "1" * 5000, "params.yaml: not read: Exceeds the limit"),
        ("seed: 13", "seed: " + "[" * 3000, "params.yaml"),
        ("seed: 13", 'seed: "\\ud800"', r"half a character in '\ud800'"),
        ("seed: 13", '"a\\nb": 1\nseed: 13', r"'a\nb': unknown name"),
        ('text: "{{ text }}"', "text: \"{{ ''.__class__ }}\"", "a template reaches outside its sandbox"),
        ("min_accuracy: 0.9", "min_accuracy: 1.9", "less than or equal to 1, not 1.9"),
        ("sha256: db20", "sha256: zz20", "fetch_data.sources.pubmedqa.sha256"),
        (r"he: (?i)\b(he|", r"he: (?i)\b((he|", "not a regular expression"),
        ("variants: [base", "variants: [bass", "predict.variants.0"),
        ("micro_batch_size: 8\n", "micro_batch_size: 3\n", "micro_batch_size 3 does not divide batch_size 8"),
    ],
)
def test_a_wrong_value_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = re.sub(
        r"micro_batch_size: \d+\n", "micro_batch_size: 8\n", re.sub(r"\bbatch_size: \d+", "batch_size: 8", TEXT)
    )
    assert old in text
    assert said in _problems(tmp_path, text.replace(old, new, 1))


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    assert re.search(r"params.yaml:\d+: not valid YAML", _problems(tmp_path, "seed: 1\nsft: [1, 2\nclean: 3\n"))
    assert "found duplicate key" in _problems(tmp_path, "seed: 1\nseed: 2\n")
    assert "not a mapping" in _problems(tmp_path, "- 1\n")
    with pytest.raises(ParamsError, match="does not exist"):
        params.load(tmp_path / "none.yaml")
    with pytest.raises(ParamsError, match=r"cannot be read \(Is a directory\)"):
        params.load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"seed: \xe9\n")
    with pytest.raises(ParamsError, match="UTF-8"):
        params.load(tmp_path / "latin.yaml")


def test_a_params_file_runs_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = TEXT.replace("seed: 13", f"seed: !!python/object/apply:os.system ['touch {mark}']")
    assert "seed" in _problems(tmp_path, text)
    assert not mark.exists()


def test_aliases_are_values_and_do_not_multiply_without_end(tmp_path: Path) -> None:
    assert _load(tmp_path, TEXT.replace("reweigh: true", "reweigh: &yes true")).balance.reweigh is True
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 9):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "more than 100,000 values" in _problems(tmp_path, bomb)


def _paths(node: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path] * bool(path) + [found for key, item in items for found in _paths(item, (*path, key))]


TREE = YAML(typ="safe").load(TEXT)


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from(_paths(TREE)),
    value=st.one_of(st.none(), st.text(max_size=5), st.integers(), st.lists(st.none())),
)
def test_any_value_anywhere_is_accepted_or_told_in_words(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[object, ...], value: object
) -> None:
    tree = YAML(typ="safe").load(TEXT)
    node = tree
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    file = tmp_path_factory.mktemp("p") / "params.yaml"
    YAML(typ="safe").dump(tree, file)
    said = "params.yaml:"
    try:
        params.load(file)
    except ParamsError as error:
        said = str(error)
    assert "params.yaml:" in said


def test_the_schema_names_every_section_and_has_no_defaults() -> None:
    schema = params.schema()
    assert sorted(schema["required"]) == sorted(schema["properties"]) == sorted(params.Params.model_fields)
    for name, part in schema["$defs"].items():
        if part.get("type") == "object":
            assert sorted(part["required"]) == sorted(part["properties"]), f"{name} has a default in Python"


def _tree() -> dict[str, Any]:
    tree: dict[str, Any] = YAML(typ="safe").load(TEXT)
    return tree


@pytest.mark.parametrize(
    "rule", ["relevance", "labelnoise", "hygiene", "objective", "downweight", "duplicates", "features"]
)
def test_a_score_to_select_by_is_one_that_clean_measures(tmp_path: Path, rule: str) -> None:
    tree = _tree()
    tree["select"]["score"]["rule"] = rule
    assert _load(tmp_path, json.dumps(tree)).select.score
    tree["select"]["enabled"] = True
    said = _problems(tmp_path, json.dumps(tree))
    assert f"select.score.rule: no rule `{rule}` of clean measures rows" in said
    assert ("set clean.relevance" if rule == "relevance" else "there are: length, language, ") in said


@pytest.mark.parametrize(
    ("task", "methods", "said"),
    [
        ("stres", {}, "augment.tasks.stres: `stres` is not declared; did you mean `stress`?"),
        ("exam", {"prompts": {"templates": ["{{ text }}"], "copies": 1}}, "templates.0: cannot be written"),
        ("stress", {"prompts": {"templates": ["{{ txt }}"], "copies": 1}}, "it may use prompt and text"),
        ("stress", {"prompts": {"templates": ["{{ text"], "copies": 1}}, "templates.0: not a template"),
        ("stress", {"prompts": {"templates": ["Stressed?"], "copies": 1}}, "says the same of every row"),
        ("stress", {"prompts": {"templates": ["{{ text }}"], "copies": 2}}, "copies: 2 of 1 templates"),
        ("dialogues", {"upsample": {"by": "label", "to": 1.0, "most": 2}}, "`dialogues` has no labels"),
        ("stress", {"typos": {"rate": 0.0, "copies": 1}}, "augment.tasks.stress.typos.rate"),
    ],
)
def test_what_is_made_of_rows_fits_their_task(tmp_path: Path, task: str, methods: dict[str, Any], said: str) -> None:
    tree = _tree()
    off = dict.fromkeys(("synonyms", "typos", "prompts", "upsample"))
    tree["augment"]["tasks"] = {task: off | methods}
    assert said in _problems(tmp_path, json.dumps(tree))


def test_a_template_of_multiple_choice_may_use_the_prompt(tmp_path: Path) -> None:
    tree = _tree()
    off = dict.fromkeys(("synonyms", "typos", "upsample"))
    prompts = {"templates": ["{{ prompt }} Only the letter.", "{{ prompt | upper }}"], "copies": 2}
    tree["augment"]["tasks"] = {"exam": off | {"prompts": prompts}}
    assert _load(tmp_path, json.dumps(tree)).augment.tasks["exam"].prompts


KTO = "{beta: 0.1, wanted_weight: 1.0, unwanted_weight: 1.0, row_weights: false}"
GRPO = (
    "{generations: 4, max_new_tokens: 32, temperature: 1.0, beta: 0.04, epsilon: 0.2, loss: dapo, scale_rewards: group,"
    " hacking: {steps: 5, length: 1.5, repetition: 0.1, distinct: 0.2, kl: 1.0}, rewards: [REWARD]}"
)
RIGHT = "{kind: right, weight: 1.0}"


def _aligned_by(algorithm: str, section: str) -> str:
    own = "dpo: {loss: sigmoid, beta: 0.1, label_smoothing: 0.0, row_weights: false}"
    assert own in TEXT
    text = TEXT.replace("algorithm: dpo", f"algorithm: {algorithm}").replace(own, "dpo: null")
    head, tail = text.split("\nalign:")
    if algorithm == "grpo":
        tail = re.sub(r"divergence: .*", "divergence: null", tail)
    text = f"{head}\nalign:{tail}"
    return re.sub(rf"(?m)^  {algorithm}: null.*", f"  {algorithm}: {section}", text)


@pytest.mark.parametrize(("algorithm", "section"), [("kto", KTO), ("grpo", GRPO.replace("REWARD", RIGHT))])
def test_other_algorithms_of_alignment_are_valid(tmp_path: Path, algorithm: str, section: str) -> None:
    assert getattr(_load(tmp_path, _aligned_by(algorithm, section)).align, algorithm) is not None


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            GRPO.replace("generations: 4", "generations: 3"),
            "align.grpo.generations: 3 does not divide align.batch_size 8",
        ),
        (GRPO.replace("generations: 4", "generations: 1"), "align.grpo.generations: input should be greater than or"),
        (
            GRPO.replace("max_new_tokens: 32", "max_new_tokens: 630"),
            "leaves no 16 tokens of align.max_length for a prompt",
        ),
        (GRPO.replace("REWARD", ""), "align.grpo.rewards"),
        (GRPO.replace("REWARD", "{kind: right, weight: 0.0}"), "align.grpo.rewards: weigh 0 in all"),
        (
            GRPO.replace("REWARD", "{kind: model, weight: 1.0}"),
            "rewards.0.kind: is `model`, and reward.enabled is false",
        ),
        (
            GRPO.replace("REWARD", "{kind: file, file: ../a.py, function: f, weight: 1.0}"),
            "`../a.py` is no .py file below",
        ),
        (GRPO.replace("REWARD", "{kind: format, pattern: '(', weight: 1.0}"), "not a regular expression"),
    ],
)
def test_a_wrong_value_of_grpo_is_told(tmp_path: Path, section: str, said: str) -> None:
    assert said in _problems(tmp_path, _aligned_by("grpo", section.replace("REWARD", RIGHT)))


def test_kto_without_both_classes_or_with_answers_alone_is_refused(tmp_path: Path) -> None:
    text = _aligned_by("kto", KTO).replace("rejected: true", "rejected: false")
    head, tail = text.split("\nalign:")
    said = _problems(tmp_path, f"{head}\nalign:{tail.replace('micro_batch_size: 8', 'micro_batch_size: 1')}")
    assert "align.tasks: none has rejected answers: KTO learns from wanted answers and from others" in said
    assert "align.micro_batch_size: must be 2 or more" in said


def _with_thumbs(text: str, values: str) -> str:
    """The tasks that align learns from have thumbs: dialogues is one of them, and it is the only one."""
    text = text.replace("tasks: [stress, exam]", "tasks: [dialogues]")
    return re.sub(r"wanted: null.*", f'wanted: {{thumb: "{{{{ thumb }}}}", values: {values}}}', text)


@pytest.mark.parametrize(
    ("values", "lack"),
    [
        ("{up: true, down: false}", None),
        ("{up: true}", "rejected answers"),
        ("{down: false}", "answers that are wanted"),
    ],
)
def test_kto_takes_thumbs_of_both_kinds(tmp_path: Path, values: str, lack: str | None) -> None:
    text = _with_thumbs(_aligned_by("kto", KTO), values)
    if lack is None:
        assert _load(tmp_path, text).prepare.tasks["dialogues"].wanted
    else:
        assert f"align.tasks: none has {lack}: KTO learns" in _problems(tmp_path, text)


def test_thumbs_are_no_pairs_and_unwanted_ones_alone_nothing_to_imitate(tmp_path: Path) -> None:
    text = _with_thumbs(TEXT, "{up: true, down: false}").replace(
        "reward: # a reward model from preference pairs (TRL), for align; enabled: false makes none\n  enabled: false",
        "reward:\n  enabled: true",
    )
    said = _problems(tmp_path, text)
    for section in ("reward", "align"):
        assert f"{section}.tasks.0: `dialogues` has single answers, wanted or not, and no pairs: take align" in said
    tree = YAML(typ="safe").load(_with_thumbs(_aligned_by("kto", KTO), "{down: false}"))
    tree["prepare"]["tasks"] = {"dialogues": tree["prepare"]["tasks"]["dialogues"]}
    assert "prepare.tasks: all answers are unwanted (`wanted`), and sft imitates" in _problems(
        tmp_path, json.dumps(tree)
    )
    tree["prepare"]["tasks"]["dialogues"]["wanted"]["thumb"] = "{{ thumb"
    assert "prepare.tasks.dialogues.wanted.thumb: not a template" in _problems(tmp_path, json.dumps(tree))


def test_a_loss_that_need_not_fall_is_not_watched_and_a_reward_model_is_whole(tmp_path: Path) -> None:
    text = _aligned_by("grpo", GRPO.replace("REWARD", RIGHT)).replace(
        "divergence: null", "divergence: {window: 5, factor: 2.0}"
    )
    assert "align.divergence: must be null: the loss of grpo does not fall while it learns" in _problems(tmp_path, text)
    head, tail = TEXT.split("\nreward:")
    tail = tail.replace("\n  enabled: false", "\n  enabled: true", 1).replace("method: lora", "method: qlora", 1)
    assert "reward.method: a reward model is trained full, or by lora" in _problems(tmp_path, f"{head}\nreward:{tail}")


ENCODER = (ROOT / "params/encoder.yaml").read_text()
NER = (ROOT / "params/ner.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (
            ENCODER,
            "enabled: false\n  algorithm",
            "enabled: true\n  algorithm",
            "align.enabled: preferences are between",
        ),
        (ENCODER, "packing: none", "packing: bfd", "sft.packing: an encoder's rows are not packed"),
        (ENCODER, "[sft, int8]", "[base, sft, int8]", "predict.variants.0: `base` has no head yet"),
        (
            ENCODER,
            "train: 1600",
            "train: 0",
            "split.limits.stress.train: an encoder cannot answer a task that it is not",
        ),
        (
            TEXT,
            "kind: decoder",
            "kind: encoder",
            "prepare.tasks.exam.kind: an encoder learns labels or tags, not `options`",
        ),
        (
            TEXT,
            "kind: decoder",
            "kind: encoder",
            "prepare.tasks.dialogues.kind: an encoder learns labels or tags, not `t",
        ),
        (TEXT, "kind: decoder", "kind: encoder", "sft.method: an encoder is trained in full; set it to full"),
        (
            NER,
            "audits: []\n  resamples",
            "audits: [{task: names, attribute: a, privileged: b, unprivileged: c, favorable: d}]\n  resamples",
            "fairness.audits.0.favorable: `d` is not declared; there are: none",
        ),
    ],
)
def test_what_does_not_go_with_an_encoder_is_told(tmp_path: Path, text: str, old: str, new: str, said: str) -> None:
    assert old in text
    assert said in _problems(tmp_path, text.replace(old, new, 1))


def test_labels_and_tags_do_not_share_an_encoder(tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    tree, other = yaml.load(NER), yaml.load(ENCODER)
    tree["prepare"]["tasks"] |= other["prepare"]["tasks"]
    tree["fetch_data"]["sources"] |= other["fetch_data"]["sources"]
    assert "prepare.tasks.names.kind: an encoder learns either tags or labels" in _problems(tmp_path, json.dumps(tree))
    tree["split"]["limits"] = {"stress": {"train": 0, "valid": 0, "test": 0}}
    _load(tmp_path, json.dumps(tree))
    tree["model"]["kind"] = "decoder"
    del tree["split"]["limits"]["stress"]
    tree["sft"]["method"] = "lora"
    tree["sft"]["lora"] = yaml.load(TEXT)["sft"]["lora"]
    _load(tmp_path, json.dumps(tree))
