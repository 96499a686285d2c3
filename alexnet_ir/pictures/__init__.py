"""Pictures of a run, by matplotlib, and the page that shows them."""
