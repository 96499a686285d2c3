"""Why training goes wrong: what is not finite, what does not learn, whether gradients are right."""
