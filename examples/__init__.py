"""The example models, shipped as package data; `alexnet-ir new NAME` writes one."""
