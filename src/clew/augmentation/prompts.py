"""Prompts: the same row, asked by another template, so that a model answers the question and not its wording.

"{{ text }}\\n\\nIs the writer stressed?"  →  "I cannot sleep.\\n\\nIs the writer stressed?"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clew.answers import Unfit
from clew.augmentation.edits import Changed, prompt_of, with_prompt
from clew.errors import DataError

if TYPE_CHECKING:
    from clew.answers import Render


def changed(row: Mapping[str, Any], templates: Sequence[str], which: int, render: Render) -> Changed:
    """The row with the user's last message as a template writes it."""
    try:
        new = render(templates[which], {"text": row["text"] or "", "prompt": prompt_of(row)})
    except Unfit as error:
        raise DataError(
            f"the template cannot be written for row {row['row_id'][:12]}: {error.detail}",
            where=f"augment.tasks.{row['task']}.prompts.templates.{which}",
            fix="It may use `text` and `prompt`.",
        ) from None
    return Changed({"messages": with_prompt(row, lambda _: new)}, f"template {which}")
