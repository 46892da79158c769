"""What a user would pick instead: a file per peer, with a function for each workload that it can do."""
