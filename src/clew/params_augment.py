"""The section `augment` of params.yaml."""

from __future__ import annotations

from typing import Literal

from clew.params_section import Section


class Augment(Section):
    """New rows made of rows of train; or a pass-through."""

    enabled: Literal[False]
