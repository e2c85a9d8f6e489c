"""Fit the few numbers of a search to judged queries of the user's own; needs no torch."""
