"""docs/params.md is what the schema says, and says of every knob of training what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clew import params, params_docs

PAGE = (Path(__file__).parents[2] / "docs/params.md").read_text(encoding="utf-8")
TRAINED = [
    name
    for name, field in params.Params.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, params.Optimisation)
]


def test_the_page_is_the_schemas() -> None:
    assert params_docs.markdown() == PAGE, "run `clew params docs > docs/params.md`"


@pytest.mark.parametrize("section", TRAINED)
def test_every_knob_of_training_has_a_line_with_its_meaning(section: str) -> None:
    lines = dict(re.findall(rf"^\| `{section}\.([\w.]+)` \| .+ \| (.*) \|$", PAGE, re.MULTILINE))
    assert set(params.Params.model_fields[section].annotation.model_fields) <= set(lines)
    assert [name for name, meaning in lines.items() if not meaning.strip()] == []
    assert {"lora.rank", "ia3.target_modules", "prompt.tokens", "prefix.tokens"} <= set(lines)


def test_kinds_lists_and_mappings_of_names_are_followed() -> None:
    for line in (
        "| `split.limits.<name>.train` | whole number ≥ 0 |",
        "| `balance.audits[].privileged` | text |",
        "| `prepare.tasks.<name>.kind` | `label` |",
        "| `prepare.tasks.<name>.kind` | `options` |",
        "| `sft.micro_batch_size` | whole number ≥ 1 or `auto` |",
        "| `sft.max_grad_norm` | number > 0 or null |",
    ):
        assert line in PAGE
    assert PAGE.count("`prepare.tasks.<name>.prompt`") == 1, "what kinds share stands there once"
