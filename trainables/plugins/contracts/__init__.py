"""What every method of a family must do, checked on a plug-in's methods: `snrlab check-plugin`."""
