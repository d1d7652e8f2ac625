"""Commands of ``flperf``, one module each."""
