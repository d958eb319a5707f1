"""A lab's own methods for snrlab."""
