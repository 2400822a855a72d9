"""Train, evaluate, export and quantize object detectors: the library of the build."""
