"""Emitters of C by the kind of op, a module each."""
