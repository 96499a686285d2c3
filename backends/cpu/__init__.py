"""Float32 in emitted C: where there is no GPU."""
