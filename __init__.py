"""The checkout's root: makes the tree readable to type checkers and editors as it stands; it is in no distribution."""
