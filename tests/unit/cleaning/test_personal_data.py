"""Personal data is found by kind, masked in every text of the row, and named in no file but as kinds and counts."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import phonenumbers
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from clew import identifiers, params, paths
from clew.cleaning import personal_data
from clew.cleaning.finding import Finding, Findings
from clew.errors import ModelError
from clew.identifiers import Span
from clew.lineage import thresholds
from clew.params_clean import FORMS, PersonalDataRule
from examples import noisy_posts
from examples.clean_rows import CONTEXT, row, table

SETTINGS: dict[str, Any] = {
    "action": "fix",
    "entities": FORMS,
    "region": "US",
    "recogniser": None,
    "threshold": 0.5,
}
FIX = PersonalDataRule(**SETTINGS)


def _findings(*rows: dict[str, Any], rule: PersonalDataRule = FIX) -> Findings:
    return personal_data.find(table(rows), rule, CONTEXT)


def _found(text: str | None, rule: PersonalDataRule = FIX, **more: Any) -> Finding | None:
    return _findings(row(text, **more), rule=rule).by_position.get(0)


def _luhn(digits: str) -> str:
    """With the check digit of ISO/IEC 7812."""
    total = sum(sum(divmod(int(d) * (2 - at % 2), 10)) for at, d in enumerate(reversed(digits)))
    return f"{digits}{-total % 10}"


def _iban(country: str, account: str) -> str:
    """With the check digits of ISO 13616."""
    number = int("".join(str(int(letter, 36)) for letter in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02d}{account}"


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices("0123456789", k=count))


def _planted(draw: random.Random) -> dict[str, str]:
    """One value of each kind."""
    card = _luhn(f"4{_digits(draw, 14)}")
    area, office = draw.choice([212, 415, 617, 303]), draw.randrange(220, 900)
    office += office % 100 == 11
    phone = f"({area}) {office}-{_digits(draw, 4)}"
    while True:
        base = _digits(draw, 9)
        check = 11 - sum(int(d) * (10 - at) for at, d in enumerate(base)) % 11
        if check != 10:
            break
    nhs = f"{base}{check % 11}"
    return {
        "EMAIL_ADDRESS": f"{draw.choice(['ann.lee', 'j+x', 'o_b'])}{draw.randrange(99)}@mail{draw.randrange(99)}.co.uk",
        "PHONE_NUMBER": phone,
        "CREDIT_CARD": " ".join(card[at : at + 4] for at in range(0, 16, 4)),
        "IBAN_CODE": _iban("DE", f"37040044{_digits(draw, 10)}"),
        "IP_ADDRESS": ".".join(str(draw.randrange(128, 224)) for _ in range(4)),
        "US_SSN": f"{draw.randrange(100, 600)}-{draw.randrange(10, 99)}-{draw.randrange(1000, 9999)}",
        "UK_NHS": f"{nhs[:3]} {nhs[3:6]} {nhs[6:]}",
        "USER_NAME": f"u/quiet_{draw.randrange(10**6)}",
    }


def test_the_kinds_of_the_section_are_those_that_are_known() -> None:
    assert tuple(identifiers.KINDS) == FORMS


@pytest.mark.parametrize("kind", FORMS)
def test_what_is_planted_is_found_and_masked(kind: str) -> None:
    draw = random.Random(kind)
    values = [_planted(draw)[kind] for _ in range(40)]
    rule = FIX.model_copy(update={"entities": (kind,)})
    found = _findings(*(row(f"I tried this ({value}), and nobody came.") for value in values), rule=rule).by_position
    assert sorted(found) == list(range(40))
    for position, value in enumerate(values):
        one = found[position]
        assert one.mend is not None
        assert one.mend(f"Q: I tried this ({value}), and nobody came. A:") == (
            f"Q: I tried this (<{kind}>), and nobody came. A:"
        )
        assert (one.start, one.end, one.detail) == (14, 14 + len(value), f"1 × {kind}")


@pytest.mark.parametrize(
    "text",
    [
        "Pressure ranged from 130 - 150/70 - 90 mmHg on 2019-03-14 and 14.03.2019 at 10:15:30.",
        "Sodium 136, potassium 4.2, chloride 101, 25-75 mg, IL-6 12.5 (8.1-16.9) pg/mL, n = 1,234,567",
        "Prevalence was 25.4-31.2/1000, HR 1.23 (95% CI 1.01-1.50; P = .0001), 1990-1995, 2001-2004",
        "Call 911 or 988. Sections 1.2.3 and 10.1.2, version 5.15.0-91, doi:10.1056/NEJMoa2034577",
        "NCT04368728, ISRCTN12345678, PMID 31234567, ISBN 978-3-16-148410-0, $1,000,000.00",
        "C++: std::vector<int>::iterator at 127.0.0.1, a:b:c and 12:30:45",
        "meet @ noon, 5 @ $3, foo@bar, and/or s/he, 1234567890123456",
        "Ratio 1234-5678-9012, 000-12-3456, 666-12-3456, 123 456 7891",
    ],
)
def test_numbers_that_are_no_ones_stay(text: str) -> None:
    assert _found(text) is None


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("mail ann@example.org.", "mail <EMAIL_ADDRESS>."),
        ("Ann <ann@example.org>", "Ann <<EMAIL_ADDRESS>>"),
        ("zoë jörg@müller.de", "zoë <EMAIL_ADDRESS>"),
        ("请联系ann@example.org谢谢", "请联系<EMAIL_ADDRESS>谢谢"),
        ("_ann@example.org_ *ann@example.org*", "_<EMAIL_ADDRESS>_ *<EMAIL_ADDRESS>*"),
        ("-ann@example.org, élise@example.fr", "-<EMAIL_ADDRESS>, <EMAIL_ADDRESS>"),
        ("x_ann@example.org/иван@пример.рф", "<EMAIL_ADDRESS>/<EMAIL_ADDRESS>"),
        ("ring +49 30 901820 now", "ring <PHONE_NUMBER> now"),
        ("1-800-273-8255!", "<PHONE_NUMBER>!"),
        ("DE89 3704 0044 0532 0130 00 THANKS", "<IBAN_CODE> THANKS"),
        ("at 2001:4860:4860::8888 then", "at <IP_ADDRESS> then"),
        ("378282246310005, 3782 822463 10005", "<CREDIT_CARD>, <CREDIT_CARD>"),
        ("thanks /u/some-one and u/other_1.", "thanks <USER_NAME> and <USER_NAME>."),
    ],
)
def test_usual_forms_are_masked(text: str, mask: str) -> None:
    found = _found(text)
    assert found is not None
    assert found.mend is not None
    assert found.mend(text) == mask


@settings(deadline=None)
@given(st.one_of(st.text(), st.text("0123456789 +-.@:/()aDE", max_size=60)), st.one_of(st.none(), st.text()))
@example("１２３ 4567 8901 @", None)
@example("+1 212 555 0123 212-555-0123", "ann@example.org")
def test_any_texts_are_masked_whole(text: str, answer: str | None) -> None:
    findings = _findings(row(text, label=None, choices=None, completion=answer), row(None))
    found = findings.by_position.get(0)
    assert findings.scores is not None
    assert (found is not None) == bool(thresholds.are_found(findings.scores, "at least", 0.5)[0])
    assert np.isnan(findings.scores[1])
    if found is not None:
        assert found.mend is not None
        masked = found.mend(text)
        assert found.mend(masked) == masked


def _numbers(draw: random.Random, count: int) -> Iterator[str]:
    """Texts of numbers: decimals, whole numbers with signs between them, and phone numbers of several countries."""
    yield " ".join(f"{draw.random() * 100:.2f}" for _ in range(count))
    yield "".join(f"{draw.randrange(10 ** draw.randrange(1, 9))}{draw.choice('   .-/(),:+')}" for _ in range(count))
    forms = [
        "212-555-{}",
        "(415) 555-{}",
        "+44 20 7946 {}",
        "01149 30 90{}",
        "1 800 273 {}",
        "0{}",
        "+1 212 555 {} x12",
    ]
    yield " ".join(draw.choice(forms).format(_digits(draw, 4)) for _ in range(count))


@pytest.mark.parametrize("region", ["US", "DE", "BR", None])
def test_counting_digits_first_loses_no_phone_number(region: str | None) -> None:
    for text in _numbers(random.Random(region), 150):
        all_of_them = phonenumbers.PhoneNumberMatcher(text, region, max_tries=len(text))
        expected = [(one.start, one.end) for one in all_of_them]
        assert [(one.start, one.end) for one in identifiers.spans(text, ["PHONE_NUMBER"], region)] == expected


def test_lists_of_decimals_are_gone_through_five_times_as_fast_as_by_the_matcher_alone() -> None:
    text = next(_numbers(random.Random(1), 500))
    start = time.process_time()
    list(phonenumbers.PhoneNumberMatcher(text, "US", max_tries=len(text)))
    alone = time.process_time() - start
    identifiers.spans("212-555-0123", ["PHONE_NUMBER"], "US")
    start = time.process_time()
    identifiers.spans(text, ["PHONE_NUMBER"], "US")
    assert 5 * (time.process_time() - start) < alone


def test_the_threshold_parts_sure_from_possible_and_scores_are_of_all_rows() -> None:
    rows = [row("my number is 2125550123"), row("(212) 555-0123"), row("none")]
    scores = _findings(*rows).scores
    assert scores is not None
    np.testing.assert_array_equal(scores, np.array([0.4, 0.9, np.nan], dtype=np.float32))
    assert sorted(_findings(*rows).by_position) == [1]
    for threshold in (0.4, 0.9):
        found = _findings(*rows, rule=FIX.model_copy(update={"threshold": threshold})).by_position
        assert sorted(found) == np.flatnonzero(thresholds.are_found(scores, "at least", threshold)).tolist()


def test_the_surest_then_the_longest_of_those_that_overlap_is_masked() -> None:
    spans = [Span("A", 0, 5, 0.5), Span("B", 4, 6, 0.9), Span("C", 4, 9, 0.9), Span("D", 20, 22, 0.1)]
    assert identifiers.settled(spans, 0.2) == [spans[2]]
    assert identifiers.settled(spans[:1] + spans[3:], 0.0) == [spans[0], spans[3]]


def test_choices_stay_and_tagged_words_go_to_review() -> None:
    found = _found("ann@example.org wrote", label="u/somebody", choices=["u/somebody", "no"])
    assert found is not None
    assert found.mend is not None
    assert found.detail == "1 × EMAIL_ADDRESS"
    assert found.mend("u/somebody") == "u/somebody"
    tagged = _found("ann@example.org wrote", tokens=["ann@example.org", "wrote"], tags=["O", "O"])
    assert tagged is not None
    assert (tagged.action, tagged.mend) == ("review", None)


def test_no_kind_and_unknown_kinds_are_told_at_the_door() -> None:
    with pytest.raises(ValidationError, match=r"no form tells PERSON .* set `recogniser`"):
        PersonalDataRule(**SETTINGS | {"entities": ("US_SSN", "PERSON")})
    with pytest.raises(ValidationError, match="at least 1 item"):
        PersonalDataRule(**SETTINGS | {"entities": ()})


def _write_posts(values: dict[str, str]) -> None:
    noisy_posts.write(number=40)
    path = paths.RAW / "dreaddit/posts.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record, value in zip(records, values.values(), strict=False):
        record["text"] += f" so write to {value} soon"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("action", ["fix", "drop", "review"])
def test_no_value_is_in_the_ledger_metrics_or_scores(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = _planted(random.Random(action))
    _write_posts(values)
    noisy_posts.run(noisy_posts.declared(personal_data={**SETTINGS, "action": action}, label_noise=None))
    figures = json.loads(paths.CLEAN_METRICS.read_text())
    assert set(figures["personal_data"]) >= set(FORMS) - {"UK_NHS"}
    kept = [paths.ledger("clean"), paths.SCORES] + ([] if action == "review" else [paths.CLEAN])
    texts = [json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False) for path in kept]
    for value in values.values():
        assert not any(value in text for text in [*texts, paths.CLEAN_METRICS.read_text()])
    ledger = pq.read_table(paths.ledger("clean")).to_pylist()
    assert sum(entry["rule"] == "personal_data" for entry in ledger) == len(FORMS)
    if action == "fix":
        masks = [text for text in pq.read_table(paths.CLEAN)["text"].to_pylist() if "so write to <" in text]
        assert len(masks) == len(FORMS)


@pytest.mark.parametrize("place", ["prompt", "system"])
def test_what_only_the_prompt_holds_is_masked_there_too(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy_posts.write(number=40)
    path = paths.RAW / "dreaddit/posts.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for number, record in enumerate(records):
        record["contact"] = f"ann{number}@example.org" if number < 3 else "nobody"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    asked = noisy_posts.declared(personal_data=SETTINGS, label_noise=None).model_dump(mode="json")
    stress = asked["prepare"]["tasks"]["stress"]
    stress[place] += " Write to {{ contact }}, or to help@example.org."
    noisy_posts.run(params.Params.model_validate_json(json.dumps(asked)))
    prompts = [json.dumps(messages) for messages in pq.read_table(paths.CLEAN)["messages"].to_pylist()]
    assert sum("Write to <EMAIL_ADDRESS>" in prompt for prompt in prompts) == 3
    assert not any("ann" in prompt for prompt in prompts)
    found = [one for one in pq.read_table(paths.ledger("clean")).to_pylist() if one["rule"] == "personal_data"]
    assert {one["detail"] for one in found[:3]} == {"1 × EMAIL_ADDRESS"}
    assert all("or to help@example.org." in prompt for prompt in prompts)


def _write_recogniser(folder: Path, head: bool = True) -> None:
    """A BERT with a token for each word of a few, that calls `ann` B-PER and `rome` B-LOC: the head is set by hand."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ann", "rome"]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)  # noqa: S106
    labels = {0: "O", 1: "B-PER", 2: "B-LOC"}
    sizes = {"hidden_size": 8, "num_hidden_layers": 0, "num_attention_heads": 2, "intermediate_size": 8}
    config = BertConfig(
        vocab_size=len(words),
        max_position_embeddings=34,
        id2label=labels,
        label2id={v: k for k, v in labels.items()},
        **sizes,
    )
    if not head:
        BertModel(config).save_pretrained(folder)
        return
    torch.manual_seed(0)
    model = BertForTokenClassification(config)
    with torch.no_grad():
        embeddings = model.bert.embeddings
        for weights in (embeddings.position_embeddings, embeddings.token_type_embeddings, embeddings.word_embeddings):
            weights.weight.zero_()
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([4.0, 0.0, 0.0]))
        for word, label in ((4, 1), (5, 2)):
            embeddings.word_embeddings.weight[word, word] = 1.0
            model.classifier.weight[label, word] = 5.0
    model.save_pretrained(folder)


NAMES = PersonalDataRule(**SETTINGS | {"entities": ("EMAIL_ADDRESS", "PERSON"), "recogniser": "ner"})


@pytest.fixture
def recogniser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = paths.RAW / "ner"
    folder.mkdir(parents=True)
    _write_recogniser(folder)
    return folder


def test_names_are_told_by_the_recogniser_in_long_texts_too(recogniser: Path) -> None:
    rows = [row("so ann wrote to ann@example.org in rome"), row("x " * 100 + "ann"), row(""), row(None)]
    first, second = _findings(*rows, rule=NAMES), _findings(*rows, rule=NAMES)
    assert sorted(first.by_position) == [0, 1]
    assert {at: one._replace(mend=None, within=None) for at, one in first.by_position.items()} == {
        at: one._replace(mend=None, within=None) for at, one in second.by_position.items()
    }
    one = first.by_position[0]
    assert (one.start, one.end, one.detail) == (3, 6, "1 × EMAIL_ADDRESS, 1 × PERSON")
    assert one.mend is not None
    assert one.mend("Anna and ann: ann@example.org") == "Anna and <PERSON>: <EMAIL_ADDRESS>"
    assert first.by_position[1].start == 200


def test_recognisers_that_are_none_or_do_not_know_a_kind_are_told(recogniser: Path, tmp_path: Path) -> None:
    rule = NAMES.model_copy(update={"entities": ("ORGANIZATION",)})
    with pytest.raises(ModelError, match="does not know ORGANIZATION; it knows LOCATION, PERSON"):
        _found("ann", rule)
    with pytest.raises(ModelError, match=r"data/raw/none: there is no classifier \(config.json\)"):
        _found("ann", NAMES.model_copy(update={"recogniser": "none"}))
    (paths.RAW / "plain").mkdir()
    _write_recogniser(paths.RAW / "plain", head=False)
    with pytest.raises(ModelError, match=r"not trained to classify: it lacks classifier.bias"):
        _found("ann", NAMES.model_copy(update={"recogniser": "plain"}))
