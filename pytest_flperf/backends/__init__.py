"""One file per kind of server behind one Protocol."""
