"""Suites out of other tools' files: BFCL, OpenAI's tool schemas, saved MCP lists."""
