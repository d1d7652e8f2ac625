"""Answers: what a run says about the questions that it was made for."""
