"""What an encoder learns from, by hand: word pieces, the loss of each kind of row, weights, the seed of the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from clew.errors import DataError, ModelError, ParamsError
from clew.training import data, device, encoder, encoding, loop
from clew.training.fed import Fed
from examples import tiny_encoder, tiny_model

CPU = device.Device("cpu", "float32", "sdpa")
PLAIN = {"optimizer": "sgd", "learning_rate": 0.05, "max_grad_norm": None}
"""Adam makes a step of each gradient that is nothing but rounding, such as that of a key's bias."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder.write(tmp_path_factory.mktemp("base"), dropout=0.0)


def test_a_words_tag_stands_at_its_first_piece_and_nowhere_else(base: Path) -> None:
    tokenizer = encoding.load_tokenizer(base)
    row = tiny_encoder.tags_row(1, "ada saw o", "B-PER O O")
    head = encoding.head_for([row], "train")
    assert head == encoding.Head(("O", "B-PER"), tags=True)
    found = encoding.encode(tokenizer, row, head, 48)
    pieces = tokenizer.convert_ids_to_tokens(found.ids)
    assert pieces == ["[CLS]", "a", "##d", "##a", "s", "##a", "##w", "o", "[SEP]"]
    x = data.IGNORED
    assert found.targets == [x, 1, x, x, 0, x, x, 0, x]
    assert found.words == [None, 0, None, None, 1, None, None, 2, None]
    assert not found.cut
    cut = encoding.encode(tokenizer, row, head, 6)
    assert (cut.cut, len(cut), cut.targets) == (True, 6, [x, 1, x, x, 0, x])
    unknown = encoding.encode(tokenizer, row | {"tags": ["B-LOC", "O", "O"]}, head, 48)
    assert unknown.targets[1] == x, "a tag that training has not seen cannot be learnt"


def test_one_head_has_an_output_for_each_task_and_label() -> None:
    rows = [tiny_encoder.labels_row(1, ["joy"]), tiny_model.row(2, "no"), tiny_model.row(3)]
    head = encoding.head_for(rows, "train")
    assert head.classes == ("moods/anger", "moods/fear", "moods/joy", "stress/yes", "stress/no")
    assert head.outputs("stress", ["no", "yes"]) == [4, 3]
    with pytest.raises(DataError, match="no outputs for the labels of task `exam`: it was not trained on them"):
        head.outputs("exam", ["yes"])


@pytest.mark.parametrize("other", [tiny_encoder.tags_row(1, "a", "O"), tiny_model.row(1, label=None, choices=None)])
def test_labels_beside_tags_or_free_text_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="an encoder learns either labels or tags"):
        encoding.head_for([tiny_model.row(2), other], "train")


def _batch(base: Path, rows: list[dict[str, Any]]) -> tuple[encoding.Head, dict[str, Any]]:
    tokenizer, head = encoding.load_tokenizer(base), encoding.head_for(rows, "train")
    encoded = [encoding.encode(tokenizer, row, head, 48) for row in rows]
    return head, encoding.make_collator(head, 0)(list(encoding.make_dataset(encoded)))


def test_the_loss_of_a_row_is_among_the_labels_of_its_own_task(base: Path) -> None:
    rows = [tiny_model.row(1, "no"), tiny_encoder.labels_row(2, ["anger", "joy"]), tiny_encoder.labels_row(3, [])]
    head, batch = _batch(base, rows)
    logits = torch.tensor([[9.0, 9.0, 9.0, 0.5, -1.0], [2.0, -1.0, 0.0, 9.0, 9.0], [2.0, -1.0, 0.0, 9.0, 9.0]])
    assert head.classes[3:] == ("stress/yes", "stress/no")

    def yes(x: float) -> float:
        return float(-torch.log(torch.sigmoid(torch.tensor(x))))

    wanted = [
        float(torch.log(torch.exp(torch.tensor(0.5)) + torch.exp(torch.tensor(-1.0))) + 1.0),
        (yes(2.0) + yes(1.0) + yes(0.0)) / 3,
        (yes(-2.0) + yes(1.0) + yes(0.0)) / 3,
    ]
    assert encoder.row_losses(logits, batch).tolist() == pytest.approx(wanted, rel=1e-5)
    assert encoder.counted(batch).tolist() == [1, 1, 1]


def test_the_loss_of_tags_is_summed_over_words_as_torch_has_it(base: Path) -> None:
    _, batch = _batch(base, [tiny_encoder.tags_row(1, "ada saw o", "B-PER O O"), tiny_encoder.tags_row(2, "o", "O")])
    torch.manual_seed(0)
    logits = torch.randn(2, batch["labels"].shape[1], 2)
    losses = encoder.row_losses(logits, batch)
    for at in (0, 1):
        wanted = torch.nn.functional.cross_entropy(logits[at], batch["labels"][at], reduction="sum")
        assert float(losses[at]) == pytest.approx(float(wanted), rel=1e-6)
    assert encoder.counted(batch).tolist() == [3, 1]


def _trained(base: Path, folder: Path, rows: list[dict[str, Any]], order: list[int], micro: int = 4) -> dict[str, Any]:
    tokenizer, head = encoding.load_tokenizer(base), encoding.head_for(rows, "train")
    encoded = [encoding.encode(tokenizer, row, head, 48) for row in rows]
    section = tiny_encoder.sft_params(batch_size=4, micro_batch_size=micro, **PLAIN)
    device.make_deterministic(1)
    trainer = encoder.make_trainer(section, 1, CPU, folder, base, tokenizer, head, encoded, encoded[:1], order)
    return loop.fit(trainer, folder, "sft", 100, Fed(len(rows)), None).weights


def _rows(kind: str) -> list[dict[str, Any]]:
    if kind == "tags":
        return tiny_encoder.names(8)
    moods = [tiny_encoder.labels_row(n, [label]) for n, label in enumerate(("joy", "fear", "anger", "joy"), 4)]
    return tiny_model.rows(4) + moods


@pytest.mark.parametrize("kind", ["labels", "tags"])
def test_a_row_of_weight_zero_is_as_a_row_that_is_absent(base: Path, tmp_path: Path, kind: str) -> None:
    """Of two steps of four rows, one row of each has no weight, or stands in none."""
    rows = _rows(kind)
    light = [row | {"weight": 0.0} if at in (1, 6) else row for at, row in enumerate(rows)]
    whole = _trained(base, tmp_path / "whole", rows, list(range(8)))
    zero = _trained(base, tmp_path / "zero", light, list(range(8)))
    three = [row for at, row in enumerate(rows) if at not in (1, 6)]
    tokenizer, head = encoding.load_tokenizer(base), encoding.head_for(rows, "train")
    encoded = [encoding.encode(tokenizer, row, head, 48) for row in three]
    section = tiny_encoder.sft_params(batch_size=3, micro_batch_size=3, **PLAIN)
    device.make_deterministic(1)
    folder = tmp_path / "absent"
    trainer = encoder.make_trainer(section, 1, CPU, folder, base, tokenizer, head, encoded, encoded[:1], range(6))
    absent = loop.fit(trainer, folder, "sft", 100, Fed(6), None).weights
    apart = {name: float((zero[name] - absent[name]).abs().max()) for name in zero}
    assert max(apart.values()) < 1e-6, max(apart, key=apart.__getitem__)
    assert max(float((zero[name] - whole[name]).abs().max()) for name in zero) > 1e-4, "weights must matter"


@pytest.mark.parametrize("kind", ["labels", "tags"])
def test_how_a_step_is_split_to_fit_memory_changes_nothing(base: Path, tmp_path: Path, kind: str) -> None:
    weighed = [row | {"weight": 0.5 + at % 3} for at, row in enumerate(_rows(kind))]
    one = _trained(base, tmp_path / "one", weighed, list(range(8)), micro=4)
    two = _trained(base, tmp_path / "two", weighed, list(range(8)), micro=1)
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5


def test_the_head_is_drawn_from_the_seed_and_the_encoder_is_the_bases(base: Path) -> None:
    head = encoding.Head(("stress/yes", "stress/no"), tags=False)
    one, same, other = (encoder.load_base(base, head, seed).state_dict() for seed in (1, 1, 2))
    differ = {name for name in one if not torch.equal(one[name], other[name])}
    assert differ == {"classifier.weight"}
    assert all(torch.equal(one[name], same[name]) for name in one)


def test_more_tokens_than_positions_are_refused(base: Path) -> None:
    model = encoder.load_base(base, encoding.Head(("O",), tags=True), 1)
    device.check_length(model, 128, "sft.max_length")
    with pytest.raises(ParamsError, match="the model reads 128 tokens at most, not 129"):
        device.check_length(model, 129, "sft.max_length")


def test_positions_of_roberta_are_counted_from_behind_its_padding() -> None:
    from transformers import RobertaConfig, RobertaForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = RobertaConfig(vocab_size=20, max_position_embeddings=34, pad_token_id=1, **sizes)
    model = RobertaForSequenceClassification(config).eval()
    device.check_length(model, 32, "sft.max_length")
    model(input_ids=torch.full((1, 32), 5))
    with pytest.raises(ParamsError, match="reads 32 tokens at most"):
        device.check_length(model, 33, "sft.max_length")


def test_a_folder_that_holds_no_encoder_is_told(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ModelError, match="no encoder can be read"):
        encoder.load_base(tmp_path, encoding.Head(("O",), tags=True), 1)
    tiny_model.write_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"the tokenizer (cannot be read|has no padding)"):
        encoding.load_tokenizer(tmp_path)
