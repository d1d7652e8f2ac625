"""Measurement: prepare models, plan requests, play them, record, sum up."""
