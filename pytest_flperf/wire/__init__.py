"""HTTP wire layer: arrival stamps, SSE decoding, outcome classification."""
