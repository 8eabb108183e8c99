"""The model card: its head is what hubs read, its body is Markdown that no text can break."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clew.report import card


def changed(run, section, **values):
    return dataclasses.replace(run, params={**run.params, section: {**run.params[section], **values}})


def test_the_head_holds_the_final_models_scores(run):
    """Each finite metric of the aligned model, under its task and source, as in metrics/quality.json."""
    from huggingface_hub import ModelCard

    head = ModelCard(card.render(run)).data
    found = {(r.dataset_name, r.metric_type): r.metric_value for r in head.eval_results}
    wanted = {
        (task, name): entry["value"]
        for task, entries in run.quality["aligned"].items()
        for name, entry in entries.items()
        if task != "model" and entry["value"] is not None
    }
    assert found == wanted
    assert {(r.task_type, r.dataset_type) for r in head.eval_results} == {
        ("text-classification", "posts"),
        ("text-generation", "visits"),
    }
    assert head.license == "apache-2.0"
    assert head.base_model == "acme/tiny-1"


def test_a_licence_in_words_is_kept_as_words(run):
    from huggingface_hub import ModelCard

    head = ModelCard(card.render(changed(run, "fetch_model", license="ours, ask first"))).data
    assert (head.license, head.license_name) == ("other", "ours, ask first")


def test_a_base_model_from_a_package_is_not_called_a_hub_model(run):
    from huggingface_hub import ModelCard

    uri = "package://llm==1.0/llm/tiny.gguf"
    text = card.render(changed(run, "fetch_model", uri=uri))
    assert ModelCard(text).data.base_model is None
    assert f"`{uri}`" in text


def test_the_card_is_the_same_each_time(run):
    assert card.render(run) == card.render(run)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_no_title_or_use_breaks_the_cards_form(run, text):
    """No further heading, table line or rule appears, and nothing can be a tag."""
    plain = card.render(changed(run, "report", title="Title", intended_use="Use")).partition("\n---\n")[2]
    body = card.render(changed(run, "report", title=text, intended_use=text)).rpartition("\n---\n")[2]
    for mark in ("#", "|", "```", "---"):
        assert sum(line.startswith(mark) for line in body.splitlines()) == sum(
            line.startswith(mark) for line in plain.splitlines()
        )
    assert "<" not in body.replace("\\<", "")


def test_a_hostile_title_stays_a_title(run):
    text = card.render(changed(run, "report", title="x\n# Hacked | <img src=y onerror=z> [a](javascript:b)"))
    assert "# x \\# Hacked \\| \\<img src=y onerror=z\\> \\[a\\](javascript:b)" in text


@pytest.mark.parametrize("variant", ["base", "sft", "aligned", "int8"])
def test_every_variants_weights_are_named(run, variant):
    digest = next(d for d in run.digests if d.path == f"models/{variant}")
    assert f"- `models/{variant}` `{digest.sha256}`" in card.render(run)
