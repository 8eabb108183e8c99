"""What `dvc repro` would do, and what it would take: stages, tokens, memory, time and disk, before anything is paid."""
