"""Charts of a report: plain data in Plotly's form, drawn in a browser, as SVG, and as tables of their points."""
