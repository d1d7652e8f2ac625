"""Reports: HTML, charts, Markdown, CSV and terminal tables, from records only."""
