"""What is measured: a file per workload, with perdure's way and, where there is one, the raw way."""
