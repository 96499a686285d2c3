"""Mutation testing of passes and type rules: `python -m tests.mutation.run`. Not collected by pytest."""
