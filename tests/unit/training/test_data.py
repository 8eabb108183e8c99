"""How rows become tokens, and in which order they are fed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.errors import DataError, ModelError
from clew.training import data, device
from clew.training import sft as training
from examples import tiny_model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_model.write_tokenizer(folder)
    return device.load_tokenizer(folder)


def test_a_completion_ends_with_the_stop_token(tokenizer: Any) -> None:
    example = data.encode(tokenizer, tiny_model.row(0), 96, "sft.max_length")
    assert tokenizer.decode(example.prompt).endswith("Stressed?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(example.completion) == "yes<|im_end|>"
    assert data.labels(example) == [data.IGNORED] * len(example.prompt) + example.completion


def test_a_long_prompt_loses_its_middle_and_is_marked(tokenizer: Any) -> None:
    example = data.encode(tokenizer, tiny_model.row(0, text="a" * 300 + "z"), 64, "sft.max_length")
    assert example.cut
    assert len(example) == 64
    assert tokenizer.decode(example.prompt).startswith("<|im_start|>user\n")
    assert tokenizer.decode(example.prompt).endswith("z Stressed?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(example.completion) == "yes<|im_end|>"


def test_a_completion_that_does_not_fit_is_an_error_and_never_cut(tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"101 tokens, and a row may have 96.*sft\.max_length"):
        data.encode(tokenizer, tiny_model.row(0, completion="y" * 100), 96, "sft.max_length")


def test_a_template_without_stop_token_is_refused(tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    tiny_model.write_tokenizer(tmp_path, template=template)
    with pytest.raises(ModelError, match="does not end an answer with the stop token"):
        data.completion_ids(device.load_tokenizer(tmp_path), tiny_model.row(0)["messages"], "yes")


def test_a_template_that_opens_answers_otherwise_is_refused(tmp_path: Path) -> None:
    template = tiny_model.TEMPLATE.replace("assistant\n{% endif %}", "assistant, thinking:\n{% endif %}")
    tiny_model.write_tokenizer(tmp_path, template=template)
    with pytest.raises(ModelError, match="otherwise than an open one"):
        data.completion_ids(device.load_tokenizer(tmp_path), tiny_model.row(0)["messages"], "yes")


def test_a_template_that_refuses_a_system_message_says_what_to_set(tmp_path: Path) -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    tiny_model.write_tokenizer(tmp_path, template=template + tiny_model.TEMPLATE)
    with pytest.raises(ModelError, match=r"no system.*system: null"):
        data.prompt_ids(device.load_tokenizer(tmp_path), [{"role": "system", "content": "Hello"}])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda labels: labels[:, -1:].fill_(data.IGNORED), "the stop token is not trained"),
        (lambda labels: labels[:, :3].fill_(65), "what is trained is"),
    ],
)
def test_labels_are_read_back_from_the_collator(tokenizer: Any, change: Any, reason: str) -> None:
    examples = [data.encode(tokenizer, tiny_model.row(0), 96, "sft.max_length")]
    batch = training.make_collator(tokenizer.pad_token_id, "none")(list(training.make_dataset(examples)))
    data.prove_completion_only(tokenizer, examples, batch)
    change(batch["labels"])
    with pytest.raises(ModelError, match=reason):
        data.prove_completion_only(tokenizer, examples, batch)


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=200),
    size=st.integers(1, 16),
    epochs=st.floats(0.1, 3.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_is_fed_as_often_as_the_epochs_say(lengths: list[int], size: int, epochs: float, seed: int) -> None:
    if not round(len(lengths) * epochs):
        with pytest.raises(DataError, match=r"^sft.epochs: .* are no row"):
            data.feeding_order(lengths, size, epochs, seed, "sft.epochs")
        return
    order = data.feeding_order(lengths, size, epochs, seed, "sft.epochs")
    assert len(order) == round(len(lengths) * epochs)
    counts = Counter(order)
    times = [counts[index] for index in range(len(lengths))]
    assert max(times) - min(times) <= 1
    if len(lengths) >= size:
        assert all(len(set(order[at : at + size])) == len(order[at : at + size]) for at in range(0, len(order), size))
    assert order == data.feeding_order(lengths, size, epochs, seed, "sft.epochs")


def test_batches_hold_rows_of_like_length() -> None:
    lengths = [(number * 37) % 101 for number in range(400)]
    order = data.feeding_order(lengths, 8, 1, 3, "sft.epochs")
    spread = [
        max(lengths[i] for i in order[at : at + 8]) - min(lengths[i] for i in order[at : at + 8])
        for at in range(0, 400, 8)
    ]
    assert sum(spread) / len(spread) < 12
    assert order != sorted(order)


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_cutting_keeps_both_ends(ids: list[int], room: int) -> None:
    kept = data.cut_middle(ids, room)
    assert len(kept) == min(len(ids), room)
    assert kept[len(kept) // 2 :] == ids[len(ids) - (len(kept) - len(kept) // 2) :]
    assert kept[: len(kept) // 2] == ids[: len(kept) // 2]
