"""Where an artifact, a number or a row came from, and what it touched: read from git and DVC's cache."""
