"""Transport with arrival stamps, SSE decoding, classification of outcomes."""
