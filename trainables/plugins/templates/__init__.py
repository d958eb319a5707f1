"""A method of each family to begin with: `snrlab new FAMILY NAME` writes it under another name."""
