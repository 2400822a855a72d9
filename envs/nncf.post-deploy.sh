#!/bin/sh
# torch's CUDA build needs packages that its CPU build, which the lock is of, does not have.
PIP_NO_DEPS=0 python -m pip install torch
