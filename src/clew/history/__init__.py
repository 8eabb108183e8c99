"""What git and DVC remember, read fast: every commit's params, metrics and dvc.lock. Never written to."""
