"""The benches of `wgf bench`: each a function `bench(quick)` that returns rows, ours against a peer or an allowance."""
