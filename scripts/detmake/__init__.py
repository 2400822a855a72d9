"""Train, evaluate, export and quantize object detectors: the library of the build."""

import sys

# OpenVINO and NNCF send telemetry when they are imported, unasked, and a process waits 3 s for a
# network that does not answer. Without this package they cannot.
sys.modules.setdefault("openvino_telemetry", None)
