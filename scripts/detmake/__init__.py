"""Train, evaluate, export and quantize object detectors: the library that the build's scripts call."""
