"""Personal data that has a form: e-mail addresses, phone numbers, cards, accounts, IP addresses, ids, user names.

    spans("write to ann@example.org", ("EMAIL_ADDRESS",), "US") → [Span("EMAIL_ADDRESS", 9, 24, 1.0)]

Phone numbers are told by phonenumbers (Google's libphonenumber and its metadata of all countries), check digits and
national rules by python-stdnum. Each kind has a cheap pattern that a text must hold before anything else looks at it.
Scores are ours and fixed by kind and form: 1.0 with check digits or a form that nothing else has, .9 a usual form, .4 a
form that measurements, versions and ids have, too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from clew.rows import UNSPACED

SURE, LIKELY, POSSIBLE = 1.0, 0.9, 0.4


class Span(NamedTuple):
    """A piece of a text, in characters, and how sure it is of that kind."""

    kind: str
    start: int
    end: int
    score: float


class Kind(NamedTuple):
    """hint: what a text with one holds, for RE2 and for Python, in ASCII. find: (text, region) → spans."""

    hint: str
    find: Callable[[str, str | None], Iterator[Span]]


LOCAL = re.compile(rf"(?:[^\W{UNSPACED}]|[.!#$%&'*+/=?^`{{|}}~-])+\Z")
"""What may stand before an @, up to where a script without spaces begins (RFC 5322's atoms, in any letters) …"""
LONGEST_LOCAL = 64
"""… in characters at most (RFC 5321)."""
SIGNS = "_.!#$%&'*+/=?^`{|}~-"
"""Those of them that are left out in front: of Markdown or a list, mostly."""
DOMAIN = re.compile(r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:[A-Za-z]{2,24}(?![A-Za-z0-9])|[^\W\d_]{2,24}(?!\w))")
USER = re.compile(
    r"(?<![\w/])/?u/[A-Za-z0-9_-]{3,20}(?![\w/-])|(?<![\w./@+-])@[A-Za-z_]\w{2,29}(?![\w@]|\.\w)", re.ASCII
)
BETWEEN = str.maketrans("", "", " \t\n\r.,:;/()[]-")
"""What may stand between the digits of a phone number."""
LONGEST_PREFIX = 8
"""Digits that some countries put before a number: 0, or 0 and the code of a carrier."""
CARD = re.compile(
    r"(?<![\d.,-])(?=(\d{13,19}|\d{4}([ -])\d{4}\2\d{4}\2\d{4}|\d{4}([ -])\d{6}\3\d{4,5})(?![\d-]|[.,]\d))",
    re.ASCII,
)
"""Looks ahead, so that a number in front of one hides none."""
CARD_PREFIX = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|3(?:0[0-5]|[689])|6(?:011|4[4-9]|5)|62|35"
)
"""Visa, Mastercard, American Express, Diners Club, Discover, UnionPay, JCB (ISO/IEC 7812)."""
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])", re.ASCII)
IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?(?![\w:]|\.\d)", re.ASCII)
SSN = re.compile(r"(?<![\w-])\d{3}([- ])\d{2}\1\d{4}(?![\w-]|\.\d)", re.ASCII)
NHS = re.compile(r"(?<![\w-])\d{3}([- ])\d{3}\1\d{4}(?![\w-]|\.\d)", re.ASCII)


def _emails(text: str, region: str | None) -> Iterator[Span]:  # noqa: ARG001 - a kind's form
    done = 0
    for match in DOMAIN.finditer(text):
        local = LOCAL.search(text[max(done, match.start() - LONGEST_LOCAL - 1) : match.start()])
        done = match.end()
        if local and len(local[0]) <= LONGEST_LOCAL and (name := local[0].lstrip(SIGNS)):
            yield Span("EMAIL_ADDRESS", match.start() - len(name), match.end(), SURE)


def _users(text: str, region: str | None) -> Iterator[Span]:  # noqa: ARG001
    for match in USER.finditer(text):
        yield Span("USER_NAME", *match.span(), LIKELY if "u/" in match[0] else POSSIBLE)


def _phones(text: str, region: str | None) -> Iterator[Span]:
    """Valid numbers of `region`, or with a + of any country. Sure where grouped as the country groups them."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    most = len(text)  # of candidates that are none: by default the matcher gives up after 65,535
    for one in _matcher()(text, region, leniency=Leniency.VALID, max_tries=most):
        likely = one.raw_string.startswith(("+", "＋")) or not one.raw_string.isdigit()
        if likely:
            strictly = PhoneNumberMatcher(one.raw_string, region, leniency=Leniency.STRICT_GROUPING)
            likely = any(found.end - found.start == one.end - one.start for found in strictly)
        yield Span("PHONE_NUMBER", one.start, one.end, LIKELY if likely else POSSIBLE)


@cache
def _matcher() -> Any:
    """PhoneNumberMatcher, which parses a candidate before it counts its digits, so that lists of numbers take long."""
    from phonenumbers import PhoneNumberMatcher

    class Matcher(PhoneNumberMatcher):
        def _parse_and_verify(self, candidate: str, offset: int) -> Any:
            digits = candidate.translate(BETWEEN)
            if digits.isascii() and digits.isdigit() and not _may_be_phone(digits, self.preferred_region):
                return None
            return super()._parse_and_verify(candidate, offset)

    return Matcher


def _may_be_phone(digits: str, region: str | None) -> bool:
    """Whether a number without a + has as many digits as one of the region, or begins like one of another country."""
    if region is None:
        return False
    fewest, most, abroad = _lengths(region)
    return fewest <= len(digits) <= most or abroad.match(digits) is not None


@cache
def _lengths(region: str) -> tuple[int, int, re.Pattern[str]]:
    """How many digits numbers of a region have, at least and, with all that may be in front, at most; what is dialled
    before those of other countries.
    """
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, country_code_for_region

    code = country_code_for_region(region)
    about: Any = PhoneMetadata.metadata_for_region(region)
    alike: list[Any] = [PhoneMetadata.metadata_for_region(name) for name in COUNTRY_CODE_TO_REGION_CODE[code]]
    lengths = [length for one in alike for length in one.general_desc.possible_length]
    prefix = about.national_prefix_for_parsing or ""
    front = len(str(code)) + (len(prefix) if prefix.isdigit() else LONGEST_PREFIX)
    fewest = 0 if about.national_prefix_transform_rule else min(lengths)  # a rule may add an area
    return fewest, max(lengths) + front, re.compile(about.international_prefix or "(?!)")


def _cards(text: str, region: str | None) -> Iterator[Span]:  # noqa: ARG001
    from stdnum import luhn

    for match in CARD.finditer(text):
        digits = re.sub(r"\D", "", match[1])
        if len(set(digits)) > 1 and luhn.is_valid(digits):
            yield Span("CREDIT_CARD", *match.span(1), LIKELY if CARD_PREFIX.match(digits) else POSSIBLE)


def _ibans(text: str, region: str | None) -> Iterator[Span]:  # noqa: ARG001
    """The longest valid beginning: words in capitals may follow."""
    from stdnum import iban

    for match in IBAN.finditer(text):
        for length in range(len(match[0]), 14, -1):
            if match[0][length - 1] != " " and iban.is_valid(match[0][:length], check_country=False):
                yield Span("IBAN_CODE", match.start(), match.start() + length, SURE)
                break


def _addresses(text: str, region: str | None) -> Iterator[Span]:  # noqa: ARG001
    """Not those that stand for no one's machine (loopback, unspecified). Four small numbers may be a version."""
    for pattern in (IPV4, IPV6):
        for match in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            if not address.is_loopback and not address.is_unspecified:
                likely = len(match[0]) > len("10.0.0.10") or address.is_private
                yield Span("IP_ADDRESS", *match.span(), LIKELY if likely else POSSIBLE)


def _ssns(text: str, region: str | None) -> Iterator[Span]:  # noqa: ARG001
    from stdnum.us import ssn

    for match in SSN.finditer(text):
        if ssn.is_valid(match[0].replace(" ", "-")):
            yield Span("US_SSN", *match.span(), LIKELY if "-" in match[0] else POSSIBLE)


def _nhs_numbers(text: str, region: str | None) -> Iterator[Span]:  # noqa: ARG001
    """One in eleven phone numbers has its check digit, so a form that both have is not sure."""
    from stdnum.gb import nhs

    for match in NHS.finditer(text):
        if nhs.is_valid(match[0]):
            yield Span("UK_NHS", *match.span(), LIKELY if " " in match[0] else POSSIBLE)


KINDS = {
    "EMAIL_ADDRESS": Kind("@", _emails),
    "PHONE_NUMBER": Kind(r"\d(?:[^A-Za-z\d]{0,4}\d){6}", _phones),
    "CREDIT_CARD": Kind(r"\d(?:[ -]?\d){12}", _cards),
    "IBAN_CODE": Kind(r"[A-Z]{2}\d{2} ?[A-Z\d]", _ibans),
    "IP_ADDRESS": Kind(r"\d\.\d{1,3}\.\d{1,3}\.\d|[\da-fA-F]:[\da-fA-F:]*:[\da-fA-F]", _addresses),
    "US_SSN": Kind(r"\d{3}[- ]\d{2}[- ]\d{4}", _ssns),
    "UK_NHS": Kind(r"\d{3}[- ]\d{3}[- ]\d{4}", _nhs_numbers),
    "USER_NAME": Kind(r"u/|@", _users),
}
HINTS = {name: re.compile(kind.hint, re.ASCII) for name, kind in KINDS.items()}


def hint(kinds: Sequence[str]) -> str:
    """A pattern (RE2) that every text with one of the kinds holds."""
    return "|".join(KINDS[name].hint for name in kinds)


def spans(text: str, kinds: Sequence[str], region: str | None) -> list[Span]:
    """All pieces of the kinds, which may overlap."""
    return [span for name in kinds if HINTS[name].search(text) for span in KINDS[name].find(text, region)]


def settled(spans: Sequence[Span], threshold: float) -> list[Span]:
    """Those from the threshold on, without overlaps, in the order of the text: the surest wins, then the longest."""
    kept: list[Span] = []
    sure = [span for span in spans if np.float32(span.score) >= np.float32(threshold)]
    taken = bytearray(max((span.end for span in sure), default=0))
    for span in sorted(sure, key=lambda span: (-span.score, span.start - span.end, span.start, span.kind)):
        if taken.find(1, span.start, span.end) < 0:
            taken[span.start : span.end] = b"\x01" * (span.end - span.start)
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)


def masked(text: str, spans: Sequence[Span]) -> str:
    """The text with <KIND> in place of pieces that do not overlap, in the order of the text."""
    starts = [0, *(span.end for span in spans)]
    kinds = [*(f"<{span.kind}>" for span in spans), ""]
    ends = [*(span.start for span in spans), len(text)]
    return "".join(text[start:end] + kind for start, end, kind in zip(starts, ends, kinds, strict=True))
