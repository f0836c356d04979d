"""The benches of `wgf bench`: each a function `bench(quick)` of rows, ours against a peer or an allowance."""
