"""Scores of answers and greedy text, against the plain way to compute them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.evaluation import scoring
from clew.training import data, device
from examples import tiny_model

CPU = device.Device("cpu", "float32", "sdpa")
TOKENS = st.lists(st.integers(0, 255), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return device.load_model(folder, CPU)


def _plain(model: Any, prompt: list[int], answer: list[int]) -> float:
    with torch.no_grad():
        log_p = model(torch.tensor([prompt + answer])).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
    return float(log_p.gather(-1, torch.tensor(answer)[:, None]).sum())


@settings(max_examples=30, deadline=None)
@given(
    asked=st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=5)), min_size=1, max_size=4),
    begin=st.lists(st.integers(0, 255), max_size=8),
)
def test_scores_are_those_of_each_answer_alone(
    model: Any, asked: list[tuple[list[int], list[list[int]]]], begin: list[int]
) -> None:
    questions = [scoring.Question(begin + prompt, answers, False) for prompt, answers in asked]
    found = scoring.score(model, questions, 258, scoring.read_opening(model, questions))
    for question, scores in zip(questions, found, strict=True):
        assert scores == pytest.approx(
            [_plain(model, question.prompt, answer) for answer in question.answers], abs=1e-4
        )


def test_the_company_in_a_batch_does_not_change_a_score(model: Any) -> None:
    questions = [scoring.Question(list(range(n, 2 * n + 3)), [[1, 2], [3], [4, 5, 6]], False) for n in (2, 40, 11)]
    together = scoring.score(model, questions, pad=258)
    alone = [scoring.score(model, [question], pad=258)[0] for question in questions]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_what_all_prompts_begin_with_is_read_once_if_it_is_long_enough(model: Any) -> None:
    questions = [
        scoring.Question(prompt, [[5]], False) for prompt in ([1, 2, 3, 4, 5], [1, 2, 3], [1, 2, 3, 9, 9, 9, 9])
    ]
    opening = scoring.read_opening(model, questions, share=0.4)
    assert opening is not None
    assert opening.length == 2, "the last token of a prompt is fed with its answers"
    assert opening.cache.get_seq_length() == 2
    scoring.score(model, questions, 258, opening)
    assert opening.cache.get_seq_length() == 2, "batch after batch finds it as it was"
    assert scoring.read_opening(model, questions, share=0.41) is None
    assert scoring.read_opening(model, questions[:1]) is None
    assert scoring.read_opening(model, [*questions, scoring.Question([2, 2], [[5]], False)]) is None


def test_the_stop_token_is_part_of_the_score(model: Any) -> None:
    short, stopped = scoring.score(model, [scoring.Question([7, 8, 9], [[5], [5, 258]], False)], pad=258)[0]
    assert stopped < short - 1


def test_batches_go_from_long_to_short_and_hold_each_row_once() -> None:
    found = list(scoring.batches([3, 9, 1, 9, 4], 2))
    assert found == [[1, 3], [4, 0], [2]]


def test_text_is_the_likeliest_token_after_the_other(folder: Path, model: Any) -> None:
    tokenizer = device.load_tokenizer(folder)
    prompts = [data.prompt_ids(tokenizer, tiny_model.row(n)["messages"]) for n in range(3)]
    texts = scoring.generate(model, tokenizer, prompts, 6)
    for prompt, text in zip(prompts, texts, strict=True):
        ids = list(prompt)
        for _ in range(6):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
        assert text == tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True).strip()


def test_text_ends_at_the_stop_token(folder: Path, tmp_path: Path) -> None:
    model = device.load_model(folder, CPU)
    tokenizer = device.load_tokenizer(folder)
    assert scoring.generate(model, tokenizer, [[60, 61, 62]], 20) != [""]
    with torch.no_grad():
        state = model.model(torch.tensor([[60, 61, 62]])).last_hidden_state[0, -1]
        model.get_input_embeddings().weight[258] = 100 * state  # tied: the stop token is now by far the likeliest
    assert scoring.generate(model, tokenizer, [[60, 61, 62]], 20) == [""]
