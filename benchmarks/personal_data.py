"""Personal data planted in real rows: recall by kind and form, what is found where nothing was planted, µs a row.

    python benchmarks/personal_data.py FOLDER      (that of text_rules.py: what was fetched is kept)

Values are drawn with a seed: valid numbers with right check digits, in the forms in which people write them, put
between two words of SHARE of the rows. Recall: of the planted values, those that are gone from the mended text.
Precision: of the pieces found of a kind, those planted; a real one that was there before counts against it.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import phonenumbers
import pyarrow as pa
from stdnum import iban, luhn
from stdnum.gb import nhs
from stdnum.us import ssn

from clew import rows
from clew.cleaning import chain, personal_data
from clew.cleaning.finding import Context, Findings
from clew.params_clean import FORMS, PersonalDataRule, TfidfFeatures
from text_rules import read_rows

SHARE = 0.05
SEED = 13
TIMED = 100_000
SCHEMA = pa.schema([*(rows.SCHEMA.field(name) for name in chain.SEEN), (chain.BESIDE, pa.large_string())])
CONTEXT = Context(SEED, TfidfFeatures(kind="tfidf", dimensions=16), None)
COUNTED = re.compile(r"(\d+) × (\w+)")
AREAS = ("212", "415", "617", "303", "713", "206")


def rule_of(threshold: float) -> PersonalDataRule:
    return PersonalDataRule(action="fix", entities=FORMS, region="US", recogniser=None, threshold=threshold)


def digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices("0123456789", k=count))


def drawn_until(valid: Callable[[str], Any], make: Callable[[], str]) -> str:
    while not valid(value := make()):
        pass
    return value


def email(draw: random.Random) -> str:
    name = draw.choice(["ann.lee", "j+list", "o_brien", "K-9", "x"])
    return f"{name}{draw.choice(['', digits(draw, 2)])}@{draw.choice(['gmail.com', 'mail.example.co.uk', 'uni-x.edu'])}"


def american(form: str) -> Callable[[random.Random], str]:
    def number(draw: random.Random) -> str:
        area, office, line = draw.choice(AREAS), str(draw.randrange(220, 990)), digits(draw, 4)
        return form.format(area, office, line)

    return number


def foreign(draw: random.Random) -> str:
    region = draw.choice(["GB", "DE", "FR", "IN", "BR", "JP", "ZA"])
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    return phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def card(separator: str) -> Callable[[random.Random], str]:
    def number(draw: random.Random) -> str:
        front = draw.choice(["4", "51", "55", "6011"])
        front += digits(draw, 15 - len(front))
        whole = front + luhn.calc_check_digit(front)
        return separator.join(whole[at : at + 4] for at in range(0, 16, 4))

    return number


def account(spaced: bool) -> Callable[[random.Random], str]:
    examples = {
        "DE": lambda draw: digits(draw, 18),
        "NL": lambda draw: "ABNA" + digits(draw, 10),
        "GB": lambda draw: "NWBK" + digits(draw, 14),
        "CH": lambda draw: digits(draw, 17),
    }

    def number(draw: random.Random) -> str:
        country = draw.choice(sorted(examples))
        rest = examples[country](draw)
        whole = country + iban.calc_check_digits(f"{country}00{rest}") + rest
        return " ".join(whole[at : at + 4] for at in range(0, len(whole), 4)) if spaced else whole

    return number


def ipv4(draw: random.Random) -> str:
    return ".".join(str(draw.randrange(1, 255)) for _ in range(4))


def ipv6(draw: random.Random) -> str:
    return f"2001:{draw.randrange(16**4):x}:{draw.randrange(16**4):x}::{draw.randrange(1, 16**4):x}"


def social(draw: random.Random) -> str:
    return drawn_until(ssn.is_valid, lambda: f"{digits(draw, 3)}-{digits(draw, 2)}-{digits(draw, 4)}")


def health(draw: random.Random) -> str:
    return drawn_until(nhs.is_valid, lambda: f"{digits(draw, 3)} {digits(draw, 3)} {digits(draw, 4)}")


def user(draw: random.Random) -> str:
    return f"{draw.choice(['u/', '/u/'])}{draw.choice(['quiet', 'Some-one', 'x_x'])}{digits(draw, 3)}"


PLANTED: tuple[tuple[str, str, Callable[[random.Random], str]], ...] = (
    ("EMAIL_ADDRESS", "usual", email),
    ("PHONE_NUMBER", "(212) 555-0123", american("({}) {}-{}")),
    ("PHONE_NUMBER", "212-555-0123", american("{}-{}-{}")),
    ("PHONE_NUMBER", "212.555.0123", american("{}.{}.{}")),
    ("PHONE_NUMBER", "+1 212 555 0123", american("+1 {} {} {}")),
    ("PHONE_NUMBER", "2125550123", american("{}{}{}")),
    ("PHONE_NUMBER", "other countries, +44 …", foreign),
    ("CREDIT_CARD", "4 × 4 digits", card(" ")),
    ("CREDIT_CARD", "16 digits", card("")),
    ("IBAN_CODE", "in fours", account(spaced=True)),
    ("IBAN_CODE", "in one", account(spaced=False)),
    ("IP_ADDRESS", "version 4", ipv4),
    ("IP_ADDRESS", "version 6", ipv6),
    ("US_SSN", "with dashes", social),
    ("UK_NHS", "with spaces", health),
    ("USER_NAME", "u/…", user),
)


def planted(
    made: list[dict[str, Any]], value_of: Callable[[random.Random], str], draw: random.Random
) -> dict[int, str]:
    """Position → the value to put there."""
    fit = [position for position, row in enumerate(made) if row["text"] and len(row["text"].split()) > 3]
    return {position: value_of(draw) for position in sorted(draw.sample(fit, int(SHARE * len(fit))))}


def with_value(text: str, value: str, draw: random.Random) -> str:
    words = text.split(" ")
    at = draw.randrange(1, len(words) + 1)
    return " ".join([*words[:at], value, *words[at:]])


def find(made: list[dict[str, Any]], threshold: float) -> Findings:
    table = pa.Table.from_pylist(made, schema=SCHEMA)
    return personal_data.find(table, rule_of(threshold), CONTEXT)


def pieces(findings: Findings, kind: str) -> int:
    told = (COUNTED.findall(one.detail or "") for one in findings.by_position.values())
    return sum(int(count) for some in told for count, name in some if name == kind)


def measure(made: list[dict[str, Any]], threshold: float) -> None:
    before = find(made, threshold)
    print(
        f"threshold {threshold}; in {len(made):,} rows before:",
        {kind: n for kind in FORMS if (n := pieces(before, kind))},
    )
    for kind, form, value_of in PLANTED:
        draw = random.Random(f"{SEED} {kind} {form}")
        values = planted(made, value_of, draw)
        changed = list(made)
        for position, value in values.items():
            changed[position] = made[position] | {"text": with_value(made[position]["text"], value, draw)}
        findings = find(changed, threshold)
        gone = sum(
            (one := findings.by_position.get(at)) is not None and value not in one.mend(changed[at]["text"])  # type: ignore[misc]
            for at, value in values.items()
        )
        all_pieces = pieces(findings, kind)
        print(
            f"| {kind} | {form} | {len(values)} | {gone / len(values):.3f} | {min(1, gone / max(1, all_pieces)):.3f} |"
        )


def speed(made: list[dict[str, Any]]) -> None:
    """CPU a row of 50 words of the posts; a value of some kind in every tenth row."""
    draw = random.Random(SEED)
    words = [word for row in made if row["task"] == "stress" for word in row["text"].split()]
    some = []
    for number in range(TIMED):
        start = draw.randrange(len(words) - 50)
        text = " ".join(words[start : start + 50])
        value_of = PLANTED[number // 10 % len(PLANTED)][2]
        some.append(made[0] | {"text": with_value(text, value_of(draw), draw) if number % 10 == 0 else text})
    table = pa.Table.from_pylist(some, schema=SCHEMA)
    best = float("inf")
    for _ in range(3):
        start_time = time.process_time()
        personal_data.find(table, rule_of(0.5), CONTEXT)
        best = min(best, time.process_time() - start_time)
    print(f"{1e6 * best / TIMED:.1f} µs of CPU a row ({TIMED:,} rows, best of 3)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    real = read_rows(folder)
    for one_threshold in (0.5, 0.4):
        measure(real, one_threshold)
    speed(real)
