"""Judging of stored runs: answers, labels, verdicts, summaries."""
