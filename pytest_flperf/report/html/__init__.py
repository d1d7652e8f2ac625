"""HTML pages of runs, with charts as inline SVG."""
