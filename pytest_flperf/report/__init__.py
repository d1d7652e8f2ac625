"""What people read: HTML, charts, Markdown, CSV, the table of the terminal.  From records only."""
