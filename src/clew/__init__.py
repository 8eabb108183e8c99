"""clew: a declarative experiment manager for fine-tuning language models, on git and DVC."""

__version__ = "0.1.0"
