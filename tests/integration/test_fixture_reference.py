"""The fixture ``flperf_reference``."""

from __future__ import annotations

import pytest


def test_a_test_gets_a_server_whose_truth_is_known(pytester: pytest.Pytester) -> None:
    """A request to it is in its log, with the moments at which its tokens were sent."""
    pytester.makepyfile(
        """
        import json
        import urllib.request


        def test_it(flperf_reference):
            messages = [{"role": "user", "content": "x"}]
            body = {"model": "reference", "messages": messages, "stream": True, "max_tokens": 3}
            url = flperf_reference.base_url + "/chat/completions"
            answer = urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()))
            assert b"[DONE]" in answer.read()
            (entry,) = flperf_reference.log
            assert len(entry.text_ns) == 3
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
