"""The sections of the page: a file each, with `build(experiment)` for the values and a template of the same name.

To add one: a file here, a template in ../templates/, a line in ../contents.py.
"""
