"""How well a variant answers: scores of predictions, their intervals, and whether a difference is more than noise."""
