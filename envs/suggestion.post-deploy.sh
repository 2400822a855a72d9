#!/bin/sh
# torch's CUDA build needs packages that its CPU build, which the lock pins, does not need.
PIP_NO_DEPS=0 python -m pip install torch
