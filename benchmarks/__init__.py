"""The benchmark suite: ``python -m benchmarks`` from the checkout's root."""
