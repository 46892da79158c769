"""The kinds of nodes, one file each; none imports another."""
