"""Weights set to zero one by one: which, how many of each layer, when, and the proof in the finished file."""
