"""Quality: expectations of suites, and scores of answers."""
