"""What all tests share: machines that run them are slow at times, and a property that takes long is not wrong."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("clew", deadline=None)
settings.load_profile("clew")
