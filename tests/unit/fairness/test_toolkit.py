import logging
import subprocess
import sys

import numpy as np
import pytest

from clew.fairness import toolkit

SCRIPT = """
import logging, numpy as np
from clew.fairness import toolkit
bits = np.array([True, False, True, False])
groups = np.array([True, True, False, False])
toolkit.classification_metric(bits, ~bits, groups)
toolkit.label_metric(bits, groups, np.ones(4))
toolkit.reweighing(bits, groups, np.ones(4))
assert logging.getLogger().handlers == [], "a handler was left on the root logger"
logging.warning("own words")
"""


def test_aif360_is_imported_in_silence_and_others_can_still_speak() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == "WARNING:root:own words\n"


def test_the_level_of_logging_is_put_back() -> None:
    before = logging.root.manager.disable
    toolkit.dataset(np.array([True, False]), np.array([True, False]))
    assert logging.root.manager.disable == before


def test_a_division_by_zero_is_a_value_and_not_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    bits = np.array([False, False, True, False])
    metric = toolkit.label_metric(bits, np.array([True, True, False, False]), np.ones(4))
    assert toolkit.number(metric.disparate_impact) == np.inf
    assert not recwarn.list
