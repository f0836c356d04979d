"""The studies of `wgf validate`: each a function `study(quick)` that returns a Report with its figure."""
