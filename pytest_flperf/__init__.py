"""Benchmark language models on your own machine with pytest."""
