"""Two revisions or many in one view: what was asked, what went in, what code changed, what came out, and why.

One file a section; `view` puts them together, `terminal`, `markdown`, `page` and `as_json` write them down.
"""
