"""Is the favourable outcome shared out alike between groups: in the labels, and in what a variant predicts?"""
