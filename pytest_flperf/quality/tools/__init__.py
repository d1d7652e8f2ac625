"""Tool calls: definitions, expected calls, and scores of the calls of an answer."""
